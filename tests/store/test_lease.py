"""Leases show who lives; a client that was given up publishes and removes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from devops_snapshot.errors import NotFoundError, StorageError
from devops_snapshot.remote import Entry, Remote, connect
from devops_snapshot.store import Repository
from devops_snapshot.store import lease as lease_module
from devops_snapshot.store.lease import BEAT_SECONDS, Lease, hold_lease
from devops_snapshot.store.leases import (
    list_leases,
    read_holders,
    remove_revoked,
    revoke_dead,
)

from .model_world import age, at_once
from .place import objects


@pytest.fixture
def fast_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.02)


def await_beat(directory: Path, lease: Lease, number: int) -> None:
    deadline = time.monotonic() + 10
    while not (directory / lease.directory / f"beat-{number}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def age_lease(directory: Path, lease_id: str, seconds: float = 3600) -> None:
    for path in (directory / "leases" / lease_id).iterdir():
        age(path, seconds)


def test_a_lease_is_visible_as_long_as_it_is_held(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    with hold_lease(remote, {"purpose": "import", "export": "some"}) as lease:
        (holder,) = read_holders(remote)
        assert (holder.lease, holder.purpose, holder.export) == (lease.id, "import", "some")
        assert f"import on {holder.host} (process {holder.process}) since" in str(holder)
        await_beat(directory, lease, 0)
    assert list((directory / "leases").iterdir()) == []


def test_whatever_is_left_in_a_lease_goes_with_it(remote: Remote, directory: Path) -> None:
    with hold_lease(remote, {"purpose": "export"}) as lease:
        (directory / lease.directory / "unfinished-77").write_bytes(b"half")
    assert list((directory / "leases").iterdir()) == []


def test_the_beat_goes_on(fast_beats: None, remote: Remote, directory: Path) -> None:
    with hold_lease(remote, {"purpose": "export"}) as lease:
        await_beat(directory, lease, 0)
        path = directory / lease.directory
        deadline = time.monotonic() + 10
        while not any(int(beat.name[5:]) > 3 for beat in path.glob("beat-*")):
            assert time.monotonic() < deadline
        assert len(list(path.glob("beat-*"))) <= 2


class Full:
    """A remote that is full whenever a beat is written."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        if "beat-" in path and not path.endswith("beat-0"):
            raise StorageError(f"No space left for {path}")
        return self._remote.write(path, data, staging=staging)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._remote, name)


def test_the_beat_goes_on_where_there_is_no_room(fast_beats: None, tmp_path: Path) -> None:
    with (
        connect(f"file://{tmp_path}") as remote,
        hold_lease(Full(remote), {"purpose": "export"}) as lease,  # type: ignore[arg-type]
    ):
        path = tmp_path / lease.directory
        deadline = time.monotonic() + 10
        while not any(int(beat.name[5:]) > 3 for beat in path.glob("beat-*")):
            assert time.monotonic() < deadline


def test_a_missed_beat_does_not_end_them(remote: Remote, directory: Path) -> None:
    """A full storage node, and in the middle of it a cut: the last beat is older then."""

    class Full:
        lost = False

        def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
            raise StorageError("No space left")

        def rename(self, source: str, target: str) -> None:
            if self.lost:
                raise StorageError("Connection lost")
            remote.rename(source, target)

        def __getattr__(self, name: str) -> Any:
            return getattr(remote, name)

    with hold_lease(remote, {"purpose": "export"}) as lease:
        while not lease._beat_path.endswith("beat-0"):
            time.sleep(0.005)
        full: Any = Full()
        lease._remote = full
        for number, lost in ((1, False), (2, True), (3, False)):
            full.lost = lost
            lease._beat_once(number)
        lease._remote = remote
        assert [path.name for path in (directory / lease.directory).glob("beat-*")] == ["beat-3"]


def test_a_beat_that_cannot_go_on_ends_the_work(tmp_path: Path) -> None:
    class Broken(Full):
        def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
            if "beat-" in path:
                raise ZeroDivisionError("a defect")
            return self._remote.write(path, data, staging=staging)

    with (
        connect(f"file://{tmp_path}") as remote,
        hold_lease(Broken(remote), {"purpose": "export"}) as lease,  # type: ignore[arg-type]
    ):
        numbers = iter(range(1000))
        with pytest.raises(StorageError, match=f"Lease {lease.id} .* is not kept alive") as caught:
            all(lease.write(f"packs/{number}", [b"x"]) for number in numbers)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert objects(tmp_path, "leases") == []


def test_who_was_given_up_publishes_and_removes_nothing(remote: Remote, directory: Path) -> None:
    with hold_lease(remote, {"purpose": "collect"}) as lease:
        lease.write("packs/ab/one", [b"data"])
        remote.mkdir("revoked")
        remote.revoke(lease.directory, f"revoked/{lease.id}")
        for attempt in (
            lambda: lease.publish("exports/some.json", b"data"),
            lambda: lease.write("packs/ab/other", [b"data"]),
            lambda: lease.discard("packs/ab/one"),
        ):
            with pytest.raises(StorageError, match=f"Lease {lease.id} was revoked at "):
                attempt()
    assert [path.name for path in objects(directory, "packs", "exports", "leases")] == ["one"]


def test_publishing_is_one_rename(remote: Remote, directory: Path) -> None:
    """A lease that is revoked between writing the manifest and renaming it publishes nothing."""

    class Revoking(Full):
        def rename(self, source: str, target: str) -> None:
            if target.startswith("exports/"):
                self.mkdir("revoked")
                self.revoke(source.rpartition("/")[0], "revoked/it")
            self._remote.rename(source, target)

        write = property(lambda self: self._remote.write)  # type: ignore[assignment]

    with (
        hold_lease(Revoking(remote), {"purpose": "export"}) as lease,  # type: ignore[arg-type]
        pytest.raises(StorageError, match=f"Lease {lease.id} was revoked at "),
    ):
        lease.publish("exports/some.json", b"data")
    assert objects(directory, "exports") == []


def test_what_is_discarded_is_gone(remote: Remote, directory: Path) -> None:
    with hold_lease(remote, {"purpose": "collect"}) as lease:
        lease.write("packs/ab/one", [b"data"])
        lease.discard("packs/ab/one")
        assert objects(directory, "packs") == []
        with pytest.raises(NotFoundError, match="packs/ab/one"):
            lease.discard("packs/ab/one")


def test_nothing_is_discarded_without_contact(
    remote: Remote, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hold_lease(remote, {"purpose": "collect"}) as lease:
        lease.write("packs/ab/one", [b"data"])
        await_beat(directory, lease, 0)
        lease._last_beat -= 2 * BEAT_SECONDS
        with pytest.raises(StorageError, match=r"had no contact with .* for too long"):
            lease.discard("packs/ab/one")
    assert len(objects(directory, "packs")) == 1


def test_the_storage_nodes_clock(remote: Remote) -> None:
    with hold_lease(remote, {"purpose": "prune"}) as lease:
        assert abs(lease.storage_time() - time.time()) < 3


def test_only_who_shows_no_life_is_given_up(remote: Remote, directory: Path) -> None:
    with (
        hold_lease(remote, {"purpose": "export"}) as fresh,
        hold_lease(remote, {"purpose": "export"}) as slow,
        hold_lease(remote, {"purpose": "export"}) as dead,
        hold_lease(remote, {"purpose": "collect"}) as own,
    ):
        for lease in (fresh, slow, dead):
            await_beat(directory, lease, 0)
        for lease in (slow, dead):
            age_lease(directory, lease.id)
        naps = []

        def nap(seconds: float) -> None:
            naps.append(seconds)
            if len(naps) == 2:
                path = directory / slow.directory / "beat-0"
                path.rename(path.with_name("beat-1"))

        assert revoke_dead(remote, own, sleep=nap) == [dead.id]
        assert naps == [BEAT_SECONDS] * 3
        assert list_leases(remote) == sorted([fresh.id, slow.id, own.id])
        assert (directory / "revoked" / dead.id / "lease.json").exists()
        remove_revoked(remote)
        assert list((directory / "revoked").iterdir()) == []


def test_nobody_waits_where_all_are_fresh(remote: Remote, directory: Path) -> None:
    with (
        hold_lease(remote, {"purpose": "export"}),
        hold_lease(remote, {"purpose": "collect"}) as own,
    ):

        def nap(_seconds: float) -> None:
            raise AssertionError("there is nothing to wait for")

        assert revoke_dead(remote, own, sleep=nap) == []


def test_nobody_waits_for_who_has_just_ended(remote: Remote, directory: Path) -> None:
    class Slow:
        """Between listing the leases and looking at them, time passes."""

        def list(self, path: str) -> list[Entry]:
            entries = remote.list(path)
            if path == "leases":
                short.close()
            return entries

        def __getattr__(self, name: str) -> Any:
            return getattr(remote, name)

    def nap(_seconds: float) -> None:
        raise AssertionError("there is nothing to wait for")

    with ExitStack() as short, hold_lease(remote, {"purpose": "collect"}) as own:
        ended = short.enter_context(hold_lease(remote, {"purpose": "export"}))
        slow: Any = Slow()
        assert revoke_dead(slow, own, sleep=nap) == []
        assert not (directory / ended.directory).exists()


def test_a_clock_that_was_set_back_makes_nobody_immortal(remote: Remote, directory: Path) -> None:
    with (
        hold_lease(remote, {"purpose": "export"}) as other,
        hold_lease(remote, {"purpose": "collect"}) as own,
    ):
        await_beat(directory, other, 0)
        age_lease(directory, other.id, -86400)
        assert revoke_dead(remote, own, sleep=at_once) == [other.id]


def test_an_empty_directory_is_no_obstacle(remote: Remote, directory: Path) -> None:
    """Somebody died before anything could be told of the lease; or will do so in a moment."""
    remote.mkdir("leases/" + "0" * 32)
    with hold_lease(remote, {"purpose": "collect"}) as own:
        assert revoke_dead(remote, own, sleep=at_once) == []
        age(directory / "leases" / ("0" * 32), 3600)
        assert revoke_dead(remote, own, sleep=at_once) == ["0" * 32]


def test_a_lease_can_be_used_by_threads(remote: Remote, directory: Path) -> None:
    with hold_lease(remote, {"purpose": "export"}) as lease:
        threads = [
            threading.Thread(target=lease.write, args=(f"packs/ab/{number}", [b"x"]))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(objects(directory, "packs")) == 8
