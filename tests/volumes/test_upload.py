"""New volumes are what they were to be, never another's file, and known for ours when half made."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devops_snapshot.errors import ConflictError, DevopsError
from devops_snapshot.store import FileSource
from devops_snapshot.volumes import NewVolume, Opening, is_ours
from tests.bed import Host

from .conftest import FarPool

MIB = 1 << 20
MARK = b"devops_snapshot import 0123456789abcdef"


def content(directory: Path, size: int = 40 * MIB + 5) -> Path:
    """Data, a hole, data, and a hole at the end."""
    path = directory / "content"
    with path.open("wb") as file:
        file.truncate(size)
        for offset in (0, 30 * MIB):
            if offset < size:
                file.seek(offset)
                file.write(random.Random(3).randbytes(min(3 * MIB, size - offset)))
    return path


def quiet(_: int) -> None:
    pass


@contextmanager
def being_made(pool: FarPool, path: Path, source: Path) -> Iterator[tuple[NewVolume, FileSource]]:
    with FileSource.open(source) as opened:
        yield NewVolume.create(pool, path, opened.size), opened


@pytest.mark.parametrize("size", [0, 1, 39, 65536, 65537, 40 * MIB + 5])
def test_it_becomes_the_content(pool: FarPool, tmp_path: Path, size: int) -> None:
    source, path = content(tmp_path, size), pool.directory / "new"
    told: list[int] = []
    with being_made(pool, path, source) as (volume, opened):
        opening = Opening.of(opened)
        volume.fill(opened, mark=MARK, opening=opening, told=told.append)
        assert path.read_bytes()[: len(MARK)] == MARK[:size]
        volume.begin_with(opening)
    assert path.read_bytes() == source.read_bytes()
    assert sum(told) <= source.stat().st_blocks * 512 + 4096
    assert path.stat().st_blocks <= source.stat().st_blocks + 16


def test_ours_at_every_stage_and_never_anothers(pool: FarPool, tmp_path: Path) -> None:
    source, path = content(tmp_path), pool.directory / "new"

    def ours(digest: str = "", size: int = source.stat().st_size) -> bool:
        return is_ours(pool.volume(path), size=size, mark=MARK, digest=digest)

    with being_made(pool, path, source) as (volume, opened):
        opening = Opening.of(opened)
        assert ours()
        volume.fill(opened, mark=MARK, opening=opening, told=quiet)
        assert ours()
        assert ours(opening.digest)
        assert not ours(size=source.stat().st_size + 1)
        volume.begin_with(opening)
        assert ours(opening.digest)
        assert not ours()  # somebody else may have brought the same before
        path.write_bytes(os.urandom(source.stat().st_size))
        assert not ours(opening.digest)
        volume.remove()
        assert not path.exists()
        volume.remove()


def test_a_name_that_is_taken(pool: FarPool) -> None:
    """Whether libvirt knows of the file or not."""
    path = pool.directory / "taken"
    path.write_bytes(b"precious")
    for _ in range(2):
        with pytest.raises(ConflictError, match=f"a file {path} is there already"):
            NewVolume.create(pool, path, 1000)
        assert path.read_bytes() == b"precious"
        pool.volume(path)


def test_no_room(pool: FarPool, alpha: Host, tmp_path: Path) -> None:
    small = alpha.directory / "small"
    small.mkdir()
    alpha.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(small)])
    define = ["virsh", "-c", alpha.uri, "pool-create-as", "small", "dir", "--target", str(small)]
    alpha.run(define)
    tight = FarPool(pool.conn, small, storage_pool_name="small")
    source = tmp_path / "content"
    source.write_bytes(os.urandom(20 * MIB))
    try:
        with being_made(tight, small / "new", source) as (volume, opened):
            with pytest.raises(DevopsError, match=r"No space left|not all of .* was written"):
                volume.fill(opened, mark=MARK, opening=Opening.of(opened), told=quiet)
            volume.remove()
        assert pool.conn.storagePoolLookupByName("small").listVolumes() == []
    finally:
        alpha.run(["virsh", "-c", alpha.uri, "pool-destroy", "small"])
        alpha.run(["umount", str(small)])
        small.rmdir()


def test_whoever_ends_it_ends_it(pool: FarPool, tmp_path: Path) -> None:
    def end(_: int) -> None:
        raise KeyboardInterrupt

    with being_made(pool, pool.directory / "new", content(tmp_path)) as (volume, opened):
        with pytest.raises(KeyboardInterrupt):
            volume.fill(opened, mark=MARK, opening=Opening.of(opened), told=end)
        volume.remove()
    assert not (pool.directory / "new").exists()
