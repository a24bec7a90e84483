"""A storage node on which not a byte is left: what to do is said in one line, and then it works."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from devops_snapshot.errors import StorageError
from devops_snapshot.remote import Remote, connect
from devops_snapshot.store import (
    Repository,
    collect,
    delete_export,
    pin_export,
    plan_prune,
    prune,
    status,
)

from .place import CHUNK, export, make_file, noise, restore
from .small_disk import fill_to_the_last, needs_root, small_disk, small_file_system

pytestmark = [needs_root, pytest.mark.timeout(120)]
BALLAST = 1 << 20  # bytes

Mounted = Callable[[Path], AbstractContextManager[None]]


@pytest.fixture(params=["tmpfs", "ext4", "xfs", "btrfs"])
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Mounted:
    """Mounts a small file system of each kind."""
    if request.param == "tmpfs":
        return lambda path: small_file_system(path, "20m")
    return lambda path: small_disk(path, tmp_path / "image", request.param)


def reclaim(repository: Repository, doomed: str) -> int:
    """What an administrator does on a full disk; returns the bytes that come free."""
    delete_export(repository, doomed)
    prune(repository, plan_prune(repository, max_size=1))
    return collect(repository).freed


def test_ballast_makes_room_to_delete(mounted: Mounted, tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    with mounted(place), connect(f"file://{place}/repository") as remote:
        repository = Repository.open(remote, create=True)
        (place / "ballast").write_bytes(noise(BALLAST))
        files = [
            make_file(tmp_path / str(seed), 5 * CHUNK, {0: noise(5 * CHUNK, seed)})
            for seed in range(2)
        ]
        (doomed, _, _), (kept, (layer,), _) = (export(repository, file) for file in files)
        fill_to_the_last(place)
        require_refused(repository, remote, doomed)
        with repository.reading(kept) as session:
            assert restore(session, layer, tmp_path / "copy").read_bytes() == noise(5 * CHUNK, 1)
        status(repository)
        (place / "ballast").unlink()
        assert reclaim(repository, doomed) >= 5 * CHUNK
        assert [entry.id for entry in repository.exports()] == [kept]


def require_refused(repository: Repository, remote: Remote, export_id: str) -> None:
    """Each says what to do, and leaves nothing behind."""
    for work in (
        lambda: delete_export(repository, export_id),
        lambda: prune(repository, plan_prune(repository)),
        lambda: collect(repository),
        lambda: pin_export(repository, export_id, by="a test"),
    ):
        with pytest.raises(StorageError, match="No space left for") as caught:
            work()
        assert caught.value.hint.startswith("Remove the ballast on the storage node")
        assert remote.list("leases") == []
