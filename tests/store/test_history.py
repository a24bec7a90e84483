"""What a repository remembers of collections, verifications and damage."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from devops_snapshot.remote import Remote, connect
from devops_snapshot.store import Repository
from devops_snapshot.store.health.damage import Damage, load_damage, replace_damage
from devops_snapshot.store.health.history import COLLECTION, VERIFICATION, last, record
from devops_snapshot.store.lease import hold_lease


def remember(remote: Remote, kind: str, **facts: int) -> None:
    with hold_lease(remote, {"purpose": "verify"}) as lease:
        record(remote, lease, kind, facts)


def test_the_last_of_each_kind_is_told(repository: Repository, remote: Remote) -> None:
    assert last(remote, COLLECTION) is None
    remember(remote, COLLECTION, freed=1)
    time.sleep(1.1)  # SFTP tells whole seconds
    remember(remote, COLLECTION, freed=2)
    remember(remote, VERIFICATION, findings=0)
    event = last(remote, COLLECTION)
    assert event is not None
    assert event.facts == {"freed": 2}
    assert abs(event.when - datetime.now(timezone.utc)) < timedelta(seconds=5)


def test_old_ones_are_forgotten(tmp_path: Path) -> None:
    with connect(f"file://{tmp_path / 'repository'}") as remote:
        Repository.initialise(remote)
        remember(remote, VERIFICATION, number=0)
        for number in range(25):
            remember(remote, COLLECTION, number=number)
        event = last(remote, COLLECTION)
        assert event is not None
        assert event.facts == {"number": 24}
        assert len(list((tmp_path / "repository/history").iterdir())) == 11


def test_a_damaged_one_is_named_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(f"file://{tmp_path / 'repository'}") as remote:
        Repository.initialise(remote)
        remember(remote, COLLECTION, number=1)
        (good,) = (tmp_path / "repository/history").iterdir()
        remember(remote, COLLECTION, number=2)
        (bad,) = set((tmp_path / "repository/history").iterdir()) - {good}
        bad.write_bytes(bad.read_bytes()[:-5])
        with caplog.at_level(logging.WARNING):
            event = last(remote, COLLECTION)
        assert event is not None
        assert event.facts == {"number": 1}
        assert bad.name in caplog.text


def test_damage_is_known_until_it_is_replaced(repository: Repository, remote: Remote) -> None:
    lease_id = "0" * 32
    first = Damage({f"{lease_id}-1": "it is cut off"}, {})
    second = Damage({f"{lease_id}-2": "it is missing"}, {f"{'a' * 64}.{lease_id}": "it is empty"})
    assert not load_damage(remote)
    with hold_lease(remote, {"purpose": "verify"}) as lease:
        replace_damage(remote, lease, Damage(), first)
    with hold_lease(remote, {"purpose": "verify"}) as lease:  # of a client that saw nothing yet
        replace_damage(remote, lease, Damage(), second)
    assert load_damage(remote) == first | second
    with hold_lease(remote, {"purpose": "verify"}) as lease:
        replace_damage(remote, lease, first | second, second)
    assert load_damage(remote) == second
    with hold_lease(remote, {"purpose": "verify"}) as lease:
        replace_damage(remote, lease, second, Damage())
    assert not load_damage(remote)
    assert remote.list("damaged") == []
