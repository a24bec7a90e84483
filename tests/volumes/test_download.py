"""Files read through libvirt are the files, however they are read."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devops_snapshot.errors import ConflictError, DevopsError, NotFoundError
from devops_snapshot.store import Extent, FileSource, LayerSource
from devops_snapshot.volumes import StoredFiles, VolumeAtHand, VolumeSource

from .conftest import FarPool

MIB = 1 << 20
CHUNK = 1 << 16


def dense(directory: Path, size: int = 20 * MIB + 77) -> Path:
    path = directory / "dense"
    path.write_bytes(random.Random(1).randbytes(size))
    return path


def sparse(directory: Path) -> Path:
    """Data at odd places, a hole at the end."""
    path = directory / "sparse"
    with path.open("wb") as file:
        for offset, length in ((0, 5000), (9 * MIB + 4096, 3 * MIB), (40 * MIB + 8192, 100)):
            file.seek(offset)
            file.write(os.urandom(length))
        file.truncate(60 * MIB + 1)
    return path


def read(source: LayerSource, extents: Iterable[Extent]) -> bytes:
    """As an export does: in whole chunks, some at a time."""
    content = bytearray(source.size)
    done = 0
    for offset, length in extents:
        first, stop = max(done, offset // CHUNK), -(-(offset + length) // CHUNK)
        for chunk in range(first, stop, 16):
            start, end = chunk * CHUNK, min(source.size, min(chunk + 16, stop) * CHUNK)
            data = source.pread(start, end - start)
            assert len(data) == end - start
            content[start:end] = data
        done = max(done, stop)
    return bytes(content)


@pytest.mark.parametrize("make", [dense, sparse])
def test_it_is_the_file(pool: FarPool, make: Callable[[Path], Path]) -> None:
    path = make(pool.directory)
    with VolumeSource.open(pool.volume(path)) as source:
        assert source.size == path.stat().st_size
        assert read(source, source.extents()) == path.read_bytes()
        assert read(source, source.extents()) == path.read_bytes()  # a saved memory is read twice
        extents = list(source.extents())
        assert read(source, extents) == path.read_bytes()
    if make is sparse:
        assert sum(extent.length for extent in extents) < 8 * MIB


@pytest.mark.parametrize("make", [dense, sparse])
def test_any_place_by_several_threads(pool: FarPool, make: Callable[[Path], Path]) -> None:
    path = make(pool.directory)
    content, choice = path.read_bytes(), random.Random(2)
    places = [(choice.randrange(len(content)), choice.randrange(300_000)) for _ in range(60)]
    places += [(n * CHUNK, CHUNK) for n in range(20)]  # ascending, too
    for reader in (VolumeSource, VolumeAtHand):
        with reader.open(pool.volume(path)) as source, ThreadPoolExecutor(4) as threads:

            def check(place: tuple[int, int], source: LayerSource = source) -> None:
                offset, length = place[0], min(place[1], len(content) - place[0])
                assert source.pread(offset, length) == content[offset : offset + length]

            list(threads.map(check, places))


@pytest.mark.parametrize("size", [0, 1, CHUNK])
def test_small_ones(pool: FarPool, size: int) -> None:
    path = dense(pool.directory, size)
    with VolumeSource.open(pool.volume(path)) as source:
        assert read(source, source.extents()) == path.read_bytes()
    with VolumeAtHand.open(pool.volume(path)) as at_hand:
        assert at_hand.pread(0, size + 1) == path.read_bytes() + b"\0"


def write(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


def shorten(path: Path) -> None:
    os.truncate(path, 5 * MIB)


def read_while(pool: FarPool, path: Path, change: Callable[[Path], None], then: int) -> None:
    """:param then: offset of what is read afterwards"""
    with VolumeSource.open(pool.volume(path)) as source:
        source.pread(0, CHUNK)
        change(path)
        source.pread(then, CHUNK)


@pytest.mark.parametrize(
    ("change", "then"), [(write, CHUNK), (shorten, 19 * MIB), (Path.unlink, CHUNK)]
)
def test_a_change_meanwhile_is_noticed(
    pool: FarPool, change: Callable[[Path], None], then: int
) -> None:
    with pytest.raises(ConflictError, match="changed while it was being read"):
        read_while(pool, dense(pool.directory), change, then)


def test_who_may_read_it_does_so_without_libvirt(pool: FarPool, tmp_path: Path) -> None:
    path = dense(pool.directory, 100_000)
    here = StoredFiles().find(str(path))
    far = StoredFiles([pool]).find(str(path))
    assert (here.is_at_hand, far.is_at_hand) == (True, False)
    assert here.size == far.size == 100_000
    assert here.beginning(200) == far.beginning(200) == path.read_bytes()[:200]
    assert far.beginning(1 << 21) == path.read_bytes()
    with here.opened() as one, far.opened() as other:
        assert isinstance(one, FileSource)
        assert isinstance(other, VolumeSource)
        assert one.pread(0, 100_000) == other.pread(0, 100_000)


def test_what_libvirt_has_not(pool: FarPool, tmp_path: Path) -> None:
    """A file of that path on this host is another one."""
    path = dense(tmp_path, 100)
    with pytest.raises(NotFoundError, match=str(path)):
        StoredFiles([pool]).find(str(path))
    with pytest.raises(DevopsError, match="is not there"):
        StoredFiles([pool]).find(str(pool.directory / "none"))
    gone = dense(pool.directory, 100)
    pool.volume(gone)  # libvirt remembers it
    gone.unlink()
    with pytest.raises(NotFoundError, match="is not there"):
        StoredFiles([pool]).find(str(gone))
