"""Exports are deleted, undeleted and pinned."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from devops_snapshot.errors import ConflictError, NotFoundError
from devops_snapshot.remote import Remote
from devops_snapshot.store import (
    Repository,
    collect,
    delete_export,
    deleted_exports,
    leases,
    pin_export,
    pinned_exports,
    undelete_export,
    unpin_export,
)
from devops_snapshot.store.exports.moves import move_exports
from devops_snapshot.store.leases import list_leases

from .model_world import Stored, at_once, check, export
from .place import objects
from .turns import at_every_operation, dying_everywhere, let_die

NOBODY = "20200101T000000Z-00000000"


def ids(repository: Repository) -> list[str]:
    return [entry.id for entry in repository.exports()]


def deleted_ids(repository: Repository) -> list[str]:
    return [entry.id for entry in deleted_exports(repository)]


def test_a_deletion_is_undone(repository: Repository, remote: Remote) -> None:
    stored: dict[str, Stored] = {}
    one, other = (export(remote, [(number,)], stored) for number in (1, 2))
    delete_export(repository, one)
    assert (ids(repository), deleted_ids(repository)) == ([other], [one])
    with pytest.raises(NotFoundError, match=f"There is no export '{one}' at "):
        delete_export(repository, one)
    undelete_export(repository, one)
    assert (sorted(ids(repository)), deleted_ids(repository)) == (sorted([one, other]), [])
    undelete_export(repository, one)  # once more does no harm
    check(remote, one, stored[one])


def test_what_does_not_exist(repository: Repository) -> None:
    for name in (NOBODY, "../repository", ""):
        with pytest.raises(NotFoundError, match=f"There is no export '{name}' at "):
            delete_export(repository, name)
        with pytest.raises(NotFoundError, match=f"There is no export '{name}' at "):
            pin_export(repository, name, by="me")
        with pytest.raises(NotFoundError, match=f"There is no deleted export '{name}' at "):
            undelete_export(repository, name)
        unpin_export(repository, name)
    assert pinned_exports(repository) == frozenset()
    assert deleted_exports(repository) == []


def test_until_a_collection_has_run(repository: Repository, remote: Remote) -> None:
    one = export(remote, [(1, 2)], {})
    delete_export(repository, one)
    assert collect(repository, sleep=at_once).discarded == [one]
    with pytest.raises(NotFoundError, match=f"There is no deleted export '{one}' at "):
        undelete_export(repository, one)
    assert deleted_exports(repository) == []


def test_what_is_pinned_is_not_deleted(repository: Repository, remote: Remote) -> None:
    one = export(remote, [(1,)], {})
    for _ in range(2):
        pin_export(repository, one, by="tester")
    assert pinned_exports(repository) == {one}
    with pytest.raises(ConflictError, match=f"Export {one} is pinned"):
        delete_export(repository, one)
    assert ids(repository) == [one]
    unpin_export(repository, one)
    assert pinned_exports(repository) == frozenset()
    delete_export(repository, one)
    assert ids(repository) == []


def test_a_pinned_export_that_was_deleted_before_stays(
    repository: Repository, remote: Remote
) -> None:
    """Somebody pinned it while it was deleted; what is deleted and pinned is not collected."""
    stored: dict[str, Stored] = {}
    one = export(remote, [(1,)], stored)
    pin_export(repository, one, by="tester")
    remote.mkdir("deleted")
    remote.rename(f"exports/{one}.json", f"deleted/{one}.json")
    assert collect(repository, sleep=at_once).discarded == []
    undelete_export(repository, one)
    check(remote, one, stored[one])


def test_pins_and_deletions_at_once(repository: Repository, remote: Remote) -> None:
    """Whatever comes between: what was pinned with success exists."""
    outcomes = set()

    def pin() -> None:
        try:
            pin_export(repository, one, by="tester")
            outcomes.add("pinned")
            pinned.append(one)
        except NotFoundError:
            outcomes.add("too late")

    one = export(remote, [(1,)], {})
    pinned: list[str] = []
    for interrupted in at_every_operation(remote, pin, step=1):
        one = export(remote, [(1,)], {})
        try:
            delete_export(Repository.open(interrupted), one)
            outcomes.add("deleted")
        except ConflictError:
            outcomes.add("refused")
        for export_id in pinned:
            assert export_id in ids(repository)
    assert outcomes == {"pinned", "too late", "deleted", "refused"}


@pytest.fixture
def long_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """No beat is fresh, so that who shows no life is given up."""
    monkeypatch.setattr(leases, "_FRESH_SECONDS", -1)


@pytest.mark.usefixtures("long_after")
def test_a_deletion_that_is_killed(repository: Repository, remote: Remote) -> None:
    stored: dict[str, Stored] = {}
    one = export(remote, [(1,)], stored)
    for dying in dying_everywhere(remote, step=1):
        let_die(lambda dying=dying: delete_export(Repository.open(dying), one))  # type: ignore[misc]
        assert [*ids(repository), *deleted_ids(repository)] == [one]
        undelete_export(repository, one, sleep=at_once)
        assert ids(repository) == [one]
        assert deleted_ids(repository) == []
        collect(repository, sleep=at_once)
    check(remote, one, stored[one])


def test_between_link_and_unlink(repository: Repository, remote: Remote, directory: Path) -> None:
    """A rename can be cut short with both names there: it exists, and can be deleted again.

    Whoever had begun it may go on later.
    """
    stored: dict[str, Stored] = {}
    one = export(remote, [(1,)], stored)
    remote.mkdir("deleted")
    data = remote.read(f"exports/{one}.json")
    remote.write(f"deleted/{one}.json", [data], staging="deleted/unfinished")
    assert (ids(repository), deleted_ids(repository)) == ([one], [])
    undelete_export(repository, one)
    delete_export(repository, one)
    assert (ids(repository), deleted_ids(repository)) == ([], [one])
    undelete_export(repository, one)
    remote.write(f"deleted/{one}.json", [data], staging="deleted/unfinished")
    assert collect(repository, sleep=at_once).discarded == []
    check(remote, one, stored[one])
    remote.remove(f"exports/{one}.json")  # the rename goes on, after a while
    assert (ids(repository), deleted_ids(repository)) == ([], [one])
    undelete_export(repository, one)
    check(remote, one, stored[one])
    delete_export(repository, one)
    assert collect(repository, sleep=at_once).discarded == [one]
    assert objects(directory, "deleted") == []


@pytest.mark.usefixtures("long_after")
def test_an_undeletion_that_is_killed(repository: Repository, remote: Remote) -> None:
    stored: dict[str, Stored] = {}
    one = export(remote, [(1,)], stored)
    for dying in dying_everywhere(remote, step=1):
        delete_export(repository, one, sleep=at_once)

        def undelete(dying: Remote = dying) -> None:
            undelete_export(Repository.open(dying), one)

        let_die(undelete)
        assert [*ids(repository), *deleted_ids(repository)] == [one]
        undelete_export(repository, one, sleep=at_once)
        collect(repository, sleep=at_once)
        check(remote, one, stored[one])


def test_an_undeletion_that_comes_too_late_says_so(repository: Repository, remote: Remote) -> None:
    """Even if the object is still there: what it needs is about to be removed."""
    one = export(remote, [(1, 2)], {})
    data = remote.read(f"exports/{one}.json")
    delete_export(repository, one)
    with repository.writing():  # somebody is at work, so nothing is removed yet
        report = collect(repository, sleep=at_once)
        assert (report.discarded, report.packs) == ([one], 0)
        assert report.waiting > 0
        remote.write(f"deleted/{one}.json", [data], staging="deleted/unfinished")
        with pytest.raises(NotFoundError, match=f"There is no deleted export '{one}' at "):
            undelete_export(repository, one)


@pytest.mark.parametrize("first", ["delete", "undelete"])
def test_moves_of_one_export_at_once(repository: Repository, remote: Remote, first: str) -> None:
    """Wherever one comes between, at least one refuses; the export lies somewhere."""
    stored: dict[str, Stored] = {}
    one = export(remote, [(1,)], stored)
    outcomes = set()

    def attempt(name: str, at: Repository) -> None:
        try:
            {"delete": delete_export, "undelete": undelete_export}[name](at, one, wait=False)
            outcomes.add("done")
        except ConflictError:
            outcomes.add("refused")
        except NotFoundError:
            outcomes.add("not there")

    def others() -> None:
        for name in ("undelete", "delete", "undelete"):
            attempt(name, repository)

    for interrupted in at_every_operation(remote, others, step=1):
        if (first == "delete") != (one in ids(repository)):
            attempt("undelete" if first == "delete" else "delete", repository)
        attempt(first, Repository.open(interrupted))
        assert [*ids(repository), *deleted_ids(repository)] == [one]
    assert {"done", "refused"} <= outcomes
    undelete_export(repository, one)
    check(remote, one, stored[one])


def test_a_deletion_waits_for_a_collection(repository: Repository, remote: Remote) -> None:
    """Without a lease in hand, for the other one may be waiting likewise."""
    one = export(remote, [(1,)], {})
    with ExitStack() as collection:
        collection.enter_context(move_exports(remote, "discard"))
        with pytest.raises(ConflictError, match=f"{one} is being deleted or undeleted: discard on"):
            delete_export(repository, one, wait=False)
        held = list_leases(remote)

        def nap(seconds: float) -> None:
            assert 0 < seconds <= 1
            assert list_leases(remote) == held
            collection.close()

        delete_export(repository, one, sleep=nap)
    assert deleted_ids(repository) == [one]


def test_a_collection_leaves_what_was_pinned_meanwhile(
    repository: Repository, remote: Remote
) -> None:
    """Undeleted, pinned and deleted again while a collection is at any of its operations."""
    pinned: list[str] = []

    def to_and_fro() -> None:
        with suppress(NotFoundError, ConflictError):
            undelete_export(repository, one, wait=False)
            pin_export(repository, one, by="tester")
            pinned.append(one)
            delete_export(repository, one, wait=False)

    one = export(remote, [(1,)], {})
    for interrupted in at_every_operation(remote, to_and_fro):
        one = export(remote, [(1,)], {})
        delete_export(repository, one)
        collect(Repository.open(interrupted), sleep=at_once)
        assert set(pinned) <= set(ids(repository))


def test_a_pin_that_fails_leaves_that_of_another(repository: Repository, remote: Remote) -> None:
    one = export(remote, [(1,)], {})

    def other_pins_and_it_is_moved() -> None:
        with suppress(NotFoundError, ConflictError):
            pin_export(repository, one, by="other")
            remote.mkdir("deleted")
            remote.rename(f"exports/{one}.json", f"deleted/{one}.json")
            moved.append(one)

    moved: list[str] = []
    for interrupted in at_every_operation(remote, other_pins_and_it_is_moved, step=1):
        one = export(remote, [(1,)], {})
        with suppress(NotFoundError):
            pin_export(Repository.open(interrupted), one, by="late")
        assert set(moved) <= pinned_exports(repository)
