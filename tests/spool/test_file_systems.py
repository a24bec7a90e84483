"""File systems that share blocks, and disks that are full: of a host, of a storage node."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.spool import CannotDetachError, Tries, Worker
from tests.store.small_disk import fill, needs_root, small_disk, small_file_system

from .waiting import Host

pytestmark = needs_root


@dataclass(frozen=True)
class OnXfs(Host):
    """Its storage node has another disk."""

    @property
    def repository(self) -> Path:
        return self.directory.parent / "repository"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[OnXfs]:
    disk = tmp_path / "disk"
    disk.mkdir()
    with small_disk(disk, tmp_path / "image", "xfs"):
        yield OnXfs(disk)


def fill_up(host: Host) -> None:
    """Take all room there is, without writing any of it."""
    with (host.directory / "taken").open("wb") as file:
        for size in (1 << 20, 4096):
            with suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)


def work(host: Host) -> bool:
    return Worker(host.spool).run(once=True)


def test_what_will_be_written_to_is_cloned(host: OnXfs) -> None:
    """As images with snapshots inside: no second name, and no guard."""
    [path] = host.make_files(1, count=1)
    content = path.read_bytes()
    waiting = host.detach([path], sealed=False)
    assert (waiting.linked, path.stat().st_nlink) == ((), 1)
    with path.open("r+b") as file:
        file.write(b"later")
    assert work(host)
    assert host.content_of(waiting.id) == [content]


def test_a_host_whose_disk_is_full(host: OnXfs) -> None:
    """Nothing comes, and not even what was tried can be noted; what is sent all the same goes."""
    told: list[str] = []
    worker = Worker(host.spool, tell=lambda line: told.append(str(line)))
    assert worker.run(once=True)
    waiting = [host.detach(host.make_files(n), outcome="failed") for n in (1, 2)]
    left = [path.rename(host.directory / path.name) for path in host.make_files(3)]
    shutil.rmtree(host.pool)
    fill_up(host)
    with pytest.raises(CannotDetachError, match="No space left on device"):
        host.detach(left)
    host.repository.write_text("in the way")
    assert not worker.run(once=True)
    assert sorted(host.waiting()) == sorted(job.id for job in waiting)
    assert [Tries.of(job).number for job in waiting] == [0, 0]
    assert [line.count("No space left on device") for line in told] == [0, 1, 0, 1]
    host.repository.unlink()
    assert worker.run(once=True)
    assert host.exports() == [job.id for job in waiting]
    assert host.waiting() == []
    assert [receipt.error for receipt in host.spool.receipts()] == ["", ""]


def test_a_storage_node_whose_disk_is_full(tmp_path: Path) -> None:
    host = Host(tmp_path)
    sent = host.detach(host.make_files(1, count=1))
    host.repository.mkdir()
    with small_file_system(host.repository, "4M"):
        assert work(host)
        fill(host.repository / "leases/filler")
        waiting = host.detach(host.make_files(2), outcome="failed")
        assert not work(host)
        assert "No space left" in Tries.of(waiting).error
        (host.repository / "leases/filler").unlink()
        assert work(host)
        assert host.exports() == [sent.id, waiting.id]
        assert host.waiting() == []
