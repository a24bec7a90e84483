"""A client that dies, or several at once, harm nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devops_snapshot.remote import connect
from devops_snapshot.store import FileSource, LayerId, LayerKind, Repository

from .place import CHUNK, export, make_file, noise, objects, restore

SLOW_EXPORT = """
import sys, time
from devops_snapshot.remote import connect
from devops_snapshot.store import FileSource, LayerId, LayerKind, Repository

url, path, stop_at = sys.argv[1:]

class SlowSource:
    def __init__(self, source):
        self.size, self.extents, self._source = source.size, source.extents, source
    def pread(self, offset, length):
        if offset >= int(stop_at):
            print("stopped", flush=True)
            time.sleep(100)
        return self._source.pread(offset, length)

with connect(url) as remote, Repository.open(remote).writing() as session:
    with FileSource.open(path) as source:
        session.add_layer(SlowSource(source), kind=LayerKind.OVERLAY)
"""
SIZE = 100_000_000
KILLED_AT = 90_000_000  # in the second pack


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_file(tmp_path / "image", SIZE, {0: noise(SIZE)})


def test_a_killed_export_is_no_export_and_what_arrived_is_used(
    repository: Repository, url: str, directory: Path, image: Path, tmp_path: Path
) -> None:
    small = make_file(tmp_path / "small", CHUNK, {0: noise(CHUNK, seed=5)})
    earlier, (small_layer,), _ = export(repository, small)
    packs_before = len(objects(directory, "packs"))
    command = [sys.executable, "-c", SLOW_EXPORT, url, str(image), str(KILLED_AT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stopped\n"
        await_packs(directory, packs_before + 1)
        os.kill(process.pid, signal.SIGKILL)
    assert {pack.stat().st_size > 0 for pack in objects(directory, "packs")} == {True}
    with connect(url) as remote:
        other = Repository.open(remote)
        assert [entry.id for entry in other.exports()] == [earlier]
        export_id, (layer,), stats = export(other, image)
        assert 50_000_000 < stats.bytes_deduplicated < KILLED_AT
        assert stats.chunks_read == stats.chunks_sent + stats.chunks_deduplicated
        for identity, one, path in ((export_id, layer, image), (earlier, small_layer, small)):
            with other.reading(identity) as session:
                copy = restore(session, one, tmp_path / f"copy-{path.name}")
            assert copy.read_bytes() == path.read_bytes()


def await_packs(directory: Path, number: int) -> None:
    """Wait until so many packs are complete."""
    deadline = time.monotonic() + 20
    while len(objects(directory, "packs")) < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_several_exporters_at_once(
    repository: Repository, url: str, directory: Path, tmp_path: Path
) -> None:
    shared = noise(2_000_000)
    files = [
        make_file(tmp_path / f"file-{number}", 3_000_000, {0: shared, 2_100_000: noise(9, number)})
        for number in range(4)
    ]

    def work(path: Path) -> tuple[str, LayerId]:
        with connect(url) as remote:
            export_id, (layer,), _ = export(Repository.open(remote), path)
            return export_id, layer

    with ThreadPoolExecutor(4) as threads:
        exported = list(threads.map(work, files))
    assert {entry.id for entry in repository.exports()} == {export_id for export_id, _ in exported}
    for path, (export_id, layer) in zip(files, exported, strict=True):
        with repository.reading(export_id) as session:
            reader = session.layer(layer)
            assert reader.pread(0, reader.size) == path.read_bytes()
    assert objects(directory, "leases") == []


def test_one_session_is_shared_by_threads(repository: Repository, tmp_path: Path) -> None:
    files = [
        make_file(tmp_path / f"file-{number}", 2_000_000, {0: noise(2_000_000, number)})
        for number in range(4)
    ]
    with repository.writing() as session:

        def add(path: Path) -> LayerId:
            with FileSource.open(path) as source:
                return session.add_layer(source, kind=LayerKind.OVERLAY)

        with ThreadPoolExecutor(4) as threads:
            layers = list(threads.map(add, files))
        session.publish(b"", {})
    with repository.reading(session.export_id) as reading:
        for path, layer in zip(files, layers, strict=True):
            reader = reading.layer(layer)
            assert reader.pread(0, reader.size) == path.read_bytes()
