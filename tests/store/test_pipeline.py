"""Reading, hashing, looking up, packing, compressing and sending overlap, in bounded memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from devops_snapshot.errors import StorageError
from devops_snapshot.remote.local import LocalRemote
from devops_snapshot.store import Extent, LayerKind, Repository

MIB = 1 << 20


class Noise:
    """A file that counts what was read of it, and may end in an error."""

    def __init__(self, size: int, *, fails_at: int | None = None) -> None:
        self.size = size
        self.read = 0
        self._fails_at = fails_at

    def extents(self) -> list[Extent]:
        return [Extent(0, self.size)]

    def pread(self, offset: int, length: int) -> bytes:
        if self._fails_at is not None and offset >= self._fails_at:
            raise StorageError("the disk fails")
        self.read += length
        return os.urandom(length)


class HeldRemote(LocalRemote):
    """A storage node that takes nothing of a pack until it is told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.go_on = threading.Event()

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        return super().write(path, self._held(path, data), staging=staging)

    def _held(self, path: str, data: Iterable[bytes]) -> Iterator[bytes]:
        for block in data:
            if path.startswith("packs/"):
                assert self.go_on.wait(30)
            yield block


def test_reading_waits_for_a_slow_storage_node(tmp_path: Path) -> None:
    remote = HeldRemote(tmp_path / "repository")
    repository = Repository.initialise(remote)
    source = Noise(200 * MIB)
    with repository.writing() as session:
        adding = threading.Thread(
            target=session.add_layer, args=(source,), kwargs={"kind": LayerKind.BASE}
        )
        adding.start()
        assert await_standstill(source) < 100 * MIB
        remote.go_on.set()
        adding.join()
        session.publish(b"", {})
    assert source.read == source.size


def await_standstill(source: Noise) -> int:
    """Return how many bytes were read when no more are."""
    before = -1
    while before != source.read or not source.read:
        before = source.read
        time.sleep(0.5)
    return source.read


def test_what_was_read_is_sent_while_the_rest_is_read(tmp_path: Path) -> None:
    """Before all is read, a pack has arrived."""
    root = tmp_path / "repository"
    arrived: list[int] = []

    class Watching(Noise):
        def pread(self, offset: int, length: int) -> bytes:
            if offset == self.size - MIB:
                arrived.append(sum(path.is_file() for path in (root / "packs").rglob("*")))
            return super().pread(offset, length)

    with Repository.initialise(LocalRemote(root)).writing() as session:
        session.add_layer(Watching(250 * MIB), kind=LayerKind.BASE)
        session.publish(b"", {})
    assert arrived
    assert arrived[0] > 0


@pytest.mark.parametrize("fails_at", [0, 10 * MIB, 100 * MIB])
def test_an_error_of_the_source_ends_all_threads(tmp_path: Path, fails_at: int) -> None:
    before = set(threading.enumerate())
    with (
        pytest.raises(StorageError, match="the disk fails"),
        Repository.initialise(LocalRemote(tmp_path / "repository")).writing() as session,
    ):
        session.add_layer(Noise(200 * MIB, fails_at=fails_at), kind=LayerKind.BASE)
    assert set(threading.enumerate()) <= before


def test_a_sparse_layer_costs_only_its_data(tmp_path: Path) -> None:
    """1 TiB with one chunk at each end: nothing is done for the holes between them."""

    class Sparse(Noise):
        def extents(self) -> list[Extent]:
            return [Extent(0, 65536), Extent(self.size - 65536, 65536)]

    source = Sparse(1 << 40)
    began = time.monotonic()
    repository = Repository.initialise(LocalRemote(tmp_path / "repository"))
    with repository.writing() as session:
        layer = session.add_layer(source, kind=LayerKind.BASE)
        session.publish(b"", {})
    with repository.reading(session.export_id) as reading:
        extents = list(reading.layer(layer).extents())
    assert extents == source.extents()
    assert source.read == 2 * 65536
    assert sum(path.stat().st_size for path in (tmp_path / "repository").rglob("*")) < MIB
    assert time.monotonic() - began < 20
