"""Pruning deletes what is expired or does not fit, and nothing else."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from devops_snapshot.errors import StorageError
from devops_snapshot.remote import Remote
from devops_snapshot.store import (
    PrunePlan,
    Repository,
    collect,
    configure,
    deleted_exports,
    pin_export,
    plan_prune,
    prune,
)

from .model_world import Stored, age, at_once, check, export
from .place import objects
from .turns import at_every_operation

DAY = timedelta(days=1)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A local directory; over SFTP this happens in test_repack."""
    return f"file://{tmp_path / 'storage'}"


def grow_old(directory: Path, export_id: str, days: float) -> None:
    age(directory / "exports" / f"{export_id}.json", days * DAY.total_seconds())


def expired(plan: PrunePlan) -> list[str]:
    return [item.entry.id for item in plan.expired]


def ids(repository: Repository) -> set[str]:
    return {entry.id for entry in repository.exports()}


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in objects(directory, "packs"))


def test_nothing_is_expired(repository: Repository, remote: Remote) -> None:
    one = export(remote, [(1,)], {})
    plan = plan_prune(repository)
    assert (expired(plan), plan.freed, [entry.id for entry in plan.kept]) == ([], 0, [one])
    assert prune(repository, plan) == []


def test_the_time_of_each_export(repository: Repository, remote: Remote, directory: Path) -> None:
    """The repository's 7 days, the export's own time, and never below 48 hours."""
    days = {}
    for keep, old in [(None, 6.9), (None, 7.1), (30, 29), (30, 31), (1, 1.9), (1, 2.1), (0, 1.9)]:
        options = {} if keep is None else {"keep": keep * DAY}
        export_id = export(remote, [(len(days),)], {}, **options)
        grow_old(directory, export_id, old)
        days[export_id] = old
    plan = plan_prune(repository)
    assert [days[export_id] for export_id in expired(plan)] == [31, 7.1, 2.1]  # oldest first
    assert [item.keep for item in plan.expired] == [
        timedelta(days=30),
        timedelta(days=7),
        timedelta(days=2),
    ]
    assert abs(plan.expired[1].age - 7.1 * DAY) < timedelta(minutes=1)
    assert prune(repository, plan) == expired(plan)
    assert ids(repository) == days.keys() - set(expired(plan))
    assert {entry.id for entry in deleted_exports(repository)} == set(expired(plan))


def test_settings_decide(repository: Repository, remote: Remote, directory: Path) -> None:
    one = export(remote, [(1,)], {})
    grow_old(directory, one, 3)
    assert expired(plan_prune(repository)) == []
    configure(repository, keep=1 * DAY)
    assert expired(plan_prune(repository)) == [one]
    configure(repository, min_age=4 * DAY)
    assert expired(plan_prune(repository)) == []


def test_pinned_and_imported_exports_stay(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    pinned, imported, other = (export(remote, [(number,)], {}) for number in range(3))
    for export_id in (pinned, imported, other):
        grow_old(directory, export_id, 100)
    pin_export(repository, pinned, by="tester")
    with repository.reading(imported):
        plan = plan_prune(repository, max_size=0)
        assert expired(plan) == [other]
        assert plan.excess > 0
    plan = plan_prune(repository)
    assert set(expired(plan)) == {imported, other}
    with repository.reading(imported):  # since the plan was made
        assert prune(repository, plan) == [other]
    assert ids(repository) == {pinned, imported}


def test_what_comes_free(repository: Repository, remote: Remote, directory: Path) -> None:
    """The estimate is a share of packs by number of chunks; collection frees what it says."""
    stored: dict[str, Stored] = {}
    old = export(remote, [tuple(range(40))], stored)
    kept = export(remote, [tuple(range(30)), tuple(range(100, 140))], stored)
    grow_old(directory, old, 8)
    before = size(directory)
    plan = plan_prune(repository)
    assert expired(plan) == [old]
    prune(repository, plan)
    collect(repository, sleep=at_once)
    assert size(directory) == before  # more than half of the pack lives on
    again = export(remote, [tuple(range(200, 240))], stored)
    grow_old(directory, again, 8)
    before = size(directory)
    plan = plan_prune(repository)
    prune(repository, plan)
    collect(repository, sleep=at_once)
    assert 0 < plan.freed == before - size(directory)
    check(remote, kept, stored[kept])


def test_the_oldest_go_where_room_is_scarce(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    exports = [
        export(remote, [tuple(range(number * 20, number * 20 + 20))], {}) for number in range(5)
    ]
    each = size(directory) // 5
    for number, export_id in enumerate(exports):
        grow_old(directory, export_id, 6 - number)  # 6, 5, 4, 3 and 2 days
    assert expired(plan_prune(repository, max_size=6 * each)) == []
    plan = plan_prune(repository, max_size=3 * each + each // 2)
    assert expired(plan) == exports[:2]
    assert {item.keep for item in plan.expired} == {None}
    assert abs(plan.freed - 2 * each) < each // 4
    assert plan.excess == 0
    pin_export(repository, exports[0], by="tester")
    plan = plan_prune(repository, max_size=2 * each + each // 2)
    assert expired(plan) == exports[1:4]
    young = export(remote, [tuple(range(300, 320))], {})
    plan = plan_prune(repository, max_size=each)
    assert expired(plan) == exports[1:5]
    assert {entry.id for entry in plan.kept} == {exports[0], young}
    assert each // 2 < plan.excess < 2 * each


def test_what_is_shared_counts_once(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    for _ in range(3):
        grow_old(directory, export(remote, [tuple(range(50))], {}), 3)
    assert expired(plan_prune(repository, max_size=size(directory))) == []


@pytest.mark.parametrize("days", [-2, 2])
def test_a_clock_that_is_wrong(
    repository: Repository, remote: Remote, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    one = export(remote, [(1,)], {})
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + days * 86400)
    with pytest.raises(StorageError, match=r"The clock of .* says .* that of this machine"):
        plan_prune(repository)
    assert [entry.id for entry in plan_prune(repository, force=True).kept] == [one]


def test_what_seems_to_come_from_the_future_stays(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    one = export(remote, [(1,)], {}, keep=timedelta(0))
    grow_old(directory, one, -400)
    assert expired(plan_prune(repository, max_size=0)) == []


def test_pins_come_while_pruning(repository: Repository, remote: Remote, directory: Path) -> None:
    outcomes = set()
    for interrupted in at_every_operation(
        remote, lambda: outcomes.add(pin_if_there(repository)), step=1
    ):
        one = export(remote, [(1,)], {})
        grow_old(directory, one, 8)
        plan = plan_prune(repository)
        deleted = prune(Repository.open(interrupted), plan)
        assert (one in ids(repository)) == (one not in deleted)
        for path in objects(directory, "pins"):
            assert path.name in ids(repository)
            path.unlink()
        for path in objects(directory, "exports", "deleted"):
            path.unlink()
    assert outcomes == {"pinned", "too late"}


def pin_if_there(repository: Repository) -> str:
    for export_id in ids(repository):
        pin_export(repository, export_id, by="tester")
        return "pinned"
    return "too late"
