"""What a client can still do that was taken for dead, and wakes up."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from devops_snapshot.errors import NotFoundError
from devops_snapshot.remote import Remote, connect

DATA = os.urandom(1_000_003)
sizes = pytest.mark.parametrize("times", [1, 20], ids=["small", "large"])


@pytest.fixture
def woken(any_url: str) -> Iterator[Remote]:
    """A client that holds the lease L, with a manifest that is not published yet."""
    with connect(any_url) as remote:
        for directory in ("leases/L", "leases/other", "revoked", "exports"):
            remote.mkdir(directory)
        for name in ("lease.json", "beat-0", "manifest"):
            remote.write(f"leases/L/{name}", [b"data"], staging="leases/L/unfinished-0")
        yield remote


@pytest.fixture
def collector(any_url: str) -> Iterator[Remote]:
    with connect(any_url) as remote:
        yield remote


@pytest.fixture
def revoked(woken: Remote, collector: Remote) -> Remote:
    """The client :func:`woken`, when its lease is gone."""
    collector.revoke("leases/L", "revoked/L")
    return woken


def names(remote: Remote, path: str) -> list[str]:
    return sorted(entry.name for entry in remote.list(path))


def test_what_was_there_is_moved(revoked: Remote) -> None:
    assert names(revoked, "leases") == ["other"]
    assert names(revoked, "leases/L") == []
    assert {"lease.json", "beat-0"} <= set(names(revoked, "revoked/L"))
    assert revoked.read("revoked/L/lease.json") == b"data"
    for operation in (revoked.stat, revoked.read, revoked.remove):
        with pytest.raises(NotFoundError):
            operation("leases/L/manifest")
    with pytest.raises(NotFoundError):
        revoked.stat("leases/L")


def test_what_is_written_cannot_be_published(revoked: Remote) -> None:
    with pytest.raises(NotFoundError, match="leases/L"):
        revoked.rename("leases/L/manifest", "exports/E.json")
    assert names(revoked, "exports") == []


@sizes
def test_nothing_can_be_written(revoked: Remote, times: int) -> None:
    for path in ("leases/L/manifest", "leases/L/beat-1", "exports/E.json"):
        with pytest.raises(NotFoundError, match="leases/L"):
            revoked.write(path, [DATA] * times, staging="leases/L/unfinished-1")
    assert names(revoked, "exports") == []
    assert names(revoked, "leases") == ["other"]


@sizes
def test_what_is_on_its_way_does_not_arrive(woken: Remote, collector: Remote, times: int) -> None:
    def data() -> Iterator[bytes]:
        yield from [DATA] * times
        collector.revoke("leases/L", "revoked/L")
        yield DATA

    with pytest.raises(NotFoundError, match="leases/L"):
        woken.write("exports/E.json", data(), staging="leases/L/unfinished-1")
    assert names(woken, "exports") == []


def test_nothing_can_be_renamed_into_it(revoked: Remote) -> None:
    revoked.write("exports/E.json", [b"x"], staging="unfinished")
    with pytest.raises(NotFoundError, match="leases/L"):
        revoked.rename("exports/E.json", "leases/L/discarded-0")
    assert names(revoked, "exports") == ["E.json"]


def test_it_cannot_be_revoked_again(revoked: Remote) -> None:
    with pytest.raises(NotFoundError, match="leases/L"):
        revoked.revoke("leases/L", "revoked/L")
    with pytest.raises(NotFoundError, match="leases/never"):
        revoked.revoke("leases/never", "revoked/never")


def test_what_it_held_can_be_removed(revoked: Remote) -> None:
    for name in names(revoked, "revoked/L"):
        revoked.remove(f"revoked/L/{name}")
    revoked.remove("revoked/L")
    assert names(revoked, "revoked") == []
