"""The worker gives way to whatever else its host does, with all threads that send."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.shell import main

from .waiting import Host

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
NICE = 16  # index of that field of /proc/<pid>/stat, behind the name


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    host.detach(host.make_files(1))
    yield host
    shutil.rmtree(tmp_path / "spool", ignore_errors=True)  # so that guards end


def has_begun(repository: Path) -> bool:
    return any(path.stat().st_size for path in repository.glob("leases/*/unfinished-*"))


@contextmanager
def sending(host: Host, *options: str) -> Iterator[Path]:
    """``/proc/<pid>`` of a worker in the midst of it."""
    place = str(host.spool.directory)
    command = ["export-worker", "--once", "--spool", place, "--bwlimit=9K", *options]
    process = PROCESSES.Process(target=main, args=(command,))
    process.start()
    worker = Path(f"/proc/{process.pid}")
    try:
        while len(list(worker.glob("task/*"))) == 1 or not has_begun(host.repository):
            assert process.is_alive()
            time.sleep(0.05)
        yield worker
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize(
    ("options", "io_priority", "nice"), [([], "idle", 10), (["--eager"], "none", 0)]
)
def test_all_threads(host: Host, options: list[str], io_priority: str, nice: int) -> None:
    with sending(host, *options) as worker:
        threads = [path.name for path in worker.glob("task/*")]
        said = subprocess.run(["ionice", "-p", *threads], capture_output=True, text=True).stdout
        stats = [path.read_text().rpartition(")")[2].split() for path in worker.glob("task/*/stat")]
    assert len(threads) > 1
    assert {line.partition(":")[0] for line in said.splitlines()} == {io_priority}
    assert {int(fields[NICE]) for fields in stats} == {os.nice(0) + nice}
