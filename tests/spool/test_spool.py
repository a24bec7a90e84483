"""What waits in the spool is sent as it was, once, and whatever happens."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.errors import ConflictError, DevopsError, NotFoundError, UsageError
from devops_snapshot.remote import Remote, connect
from devops_snapshot.spool import (
    CannotDetachError,
    OpenQueue,
    SpoolFullError,
    Tries,
    Worker,
    job,
    receipts,
    sending,
    spool_directory,
)
from devops_snapshot.store import Repository, delete_export, verify

from .waiting import Host

LONG_RUN = bool(os.environ.get("DEVOPS_LONG_RUN"))
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    shutil.rmtree(tmp_path / "spool", ignore_errors=True)  # so that guards end


def work(host: Host) -> bool:
    return Worker(host.spool).run(once=True)


def test_it_is_sent_as_it_was(host: Host) -> None:
    paths = host.make_files(1)
    contents = [path.read_bytes() for path in paths]
    detached = host.detach(paths)
    for path in paths:
        path.unlink()
    assert not host.repository.exists()
    assert work(host)
    assert host.exports() == [detached.id]
    assert host.content_of(detached.id) == contents
    assert host.waiting() == []
    [receipt] = host.spool.receipts()
    assert (receipt.id, receipt.error) == (detached.id, "")
    assert receipt.bytes_sent > sum(map(len, contents))


def test_those_of_failed_tests_go_first(host: Host) -> None:
    told: list[object] = []
    ids = [
        host.detach(host.make_files(number, count=1), outcome=outcome).id
        for number, outcome in enumerate(["passed", "", "failed", "error"])
    ]
    assert Worker(host.spool, tell=told.append).run(once=True)
    assert [str(line).split()[0] for line in told] == [ids[2], ids[3], ids[1], ids[0]]


def test_a_storage_node_that_is_away(host: Host) -> None:
    """The wait for the next try grows; nothing is lost."""
    detached = host.detach(host.make_files(1))
    host.repository.write_text("in the way")
    assert not work(host)
    first = Tries.of(detached)
    assert (first.number, first.error.count("\n")) == (1, 0)
    assert not work(host)
    second = Tries.of(detached)
    assert second.after - time.time() > 1.5 * (first.after - time.time()) > 30
    host.repository.unlink()
    assert work(host)
    assert host.exports() == [detached.id]


def test_one_worker(host: Host) -> None:
    with host.spool.working() as is_alone:
        assert is_alone
        assert host.spool.has_worker()
        with pytest.raises(ConflictError, match="another worker"):
            work(host)
    assert not host.spool.has_worker()
    assert work(host)


def test_a_damaged_job_is_in_nobodys_way(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    damaged = host.detach(host.make_files(1, count=1))
    other = host.detach(host.make_files(2, count=1))
    (damaged.directory / "job.json").write_text("{")
    assert not work(host)
    assert host.exports() == [other.id]
    assert host.waiting() == [damaged.id]
    assert sum(damaged.id in line for line in caplog.messages) == 1


def test_a_disk_that_fails_ends_no_worker(host: Host) -> None:
    detached = host.detach(host.make_files(1, count=1))
    owners = host.spool.directory / "owners"
    told: list[object] = []
    shutil.rmtree(owners)
    owners.touch()
    assert not Worker(host.spool, tell=told.append).run(once=True)
    assert [f"{detached.id} of env stays for now" in str(line) for line in told] == [True]
    owners.unlink()
    assert work(host)


def test_a_damaged_job_can_be_given_up(host: Host) -> None:
    queue = OpenQueue(host.spool)
    for damage in ("{", None):
        damaged = host.detach(host.make_files(1, count=1))
        if damage:
            (damaged.directory / "job.json").write_text(damage)
        else:
            (damaged.directory / "job.json").unlink()
        assert not work(host)
        with pytest.raises(ConflictError, match="another user's"):
            OpenQueue(host.spool, uid=1).drop(damaged.id)
        queue.drop(damaged.id)
        assert host.waiting() == []
    (host.spool.directory / damaged.id).touch()
    assert work(host)
    with pytest.raises(NotFoundError):
        queue.drop(damaged.id)


def test_a_clock_that_goes_back_puts_nothing_off(host: Host) -> None:
    tries = Tries().and_another("away", now=1e9)
    assert [tries.may_begin(1e9 + late) for late in (1, 29, 31)] == [False, False, True]
    assert tries.may_begin(1e9 - 86400)
    detached = host.detach(host.make_files(1, count=1))
    Tries().and_another("away", now=time.time()).write(detached)
    OpenQueue(host.spool).retry()
    assert Tries.of(detached) == Tries()


@pytest.mark.parametrize("place", ["spool", "~nobody-of-that-name/spool"])
def test_a_spool_that_is_somewhere_else_for_each(place: str) -> None:
    with (
        override_settings(DEVOPS_SPOOL=place),
        pytest.raises(UsageError, match=f"{place}', which is no absolute path"),
    ):
        spool_directory(Path("/pool"))


@pytest.mark.parametrize("limit", ["10G", "-5", "1e9"])
def test_a_limit_that_is_none(limit: str, host: Host) -> None:
    with (
        override_settings(DEVOPS_SPOOL_LIMIT=limit),
        pytest.raises(UsageError, match="no number of bytes"),
    ):
        host.detach(host.make_files(1, count=1))
    assert host.waiting() == []


def test_where_there_can_be_no_spool_it_is_exported_at_once(tmp_path: Path) -> None:
    host = Host(tmp_path)
    paths = host.make_files(1, count=1)
    host.spool.directory.touch()
    with pytest.raises(CannotDetachError, match="File exists"):
        host.detach(paths)
    host.spool.directory.unlink()
    host.spool.directory.mkdir()
    host.spool.directory.chmod(0o777)  # others could put something there that is sent for us
    with pytest.raises(CannotDetachError, match="others can write to it"):
        host.detach(paths)
    with pytest.raises(DevopsError, match="cannot be used: others can write to it"):
        work(host)
    host.spool.directory.chmod(0o755)
    host.detach(paths)
    assert work(host)


DETACH = """
import sys
from pathlib import Path
import tests.devops.databases
from tests.spool.waiting import Host
host = Host(Path(sys.argv[1]))
print(host.detach(host.make_files(1, count=1)).linked)
"""


def writes(path: Path) -> bool:
    """Whether QEMU can write to a file."""
    command = ["qemu-io", "-f", "raw", "-c", "write -P 9 0 512", str(path)]
    return subprocess.run(command, capture_output=True).returncode == 0


def soon(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False


def test_nobody_writes_to_what_waits(host: Host) -> None:
    """Also when the command has ended, until it was sent, whether a worker runs or not."""
    done = subprocess.run(
        [sys.executable, "-c", DETACH, str(host.directory)],
        check=True,
        capture_output=True,
        text=True,
    )
    path = host.pool / "1_0"
    if done.stdout.strip() == "()":
        assert writes(path)  # it is a clone, and what is written here does not reach it
    else:
        assert not writes(path)
    [waiting] = host.spool.jobs()
    content = (waiting.files / "0").read_bytes()
    assert work(host)
    assert host.content_of(waiting.id) == [content]
    assert soon(lambda: writes(path))


def test_after_a_restart_of_the_host_the_worker_keeps_writers_away(host: Host) -> None:
    [path] = host.make_files(1, count=1)
    waiting = host.detach([path])
    if not waiting.linked:
        pytest.skip("this file system makes clones")
    host.repository.write_text("in the way")
    guard = subprocess.run(["pgrep", "-f", str(waiting.directory)], capture_output=True, check=True)
    os.kill(int(guard.stdout), signal.SIGKILL)
    assert soon(lambda: writes(path))

    def look(_seconds: float) -> None:
        assert not writes(path)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        Worker(host.spool, sleep=look).run()


def test_files_of_another_file_system_stay(host: Host) -> None:
    shm = Path("/dev/shm") / f"devops_snapshot-{os.getpid()}"
    if shm.parent.stat().st_dev == host.directory.stat().st_dev:
        pytest.skip("there is only one file system")
    shm.write_bytes(b"far away")
    try:
        with pytest.raises(CannotDetachError, match="cannot have a second name"):
            host.detach([*host.make_files(1), shm])
    finally:
        shm.unlink()
    assert host.waiting() == []


@override_settings(DEVOPS_SPOOL_LIMIT="900000")
def test_a_full_spool(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Those of passed tests go, the oldest first; others never."""
    kept = [host.detach(host.make_files(1, count=1), outcome="failed").id]
    dropped = [host.detach(host.make_files(2, count=1), outcome="passed").id]
    kept.append(host.detach(host.make_files(3, count=1), outcome="").id)
    kept.append(host.detach(host.make_files(4, count=1), outcome="passed").id)
    kept.append(host.detach(host.make_files(5, count=1), outcome="failed").id)
    assert [waiting.id for waiting in host.spool.jobs()] == kept
    assert any(dropped[0] in line for line in caplog.messages)
    assert [receipt.id for receipt in host.spool.receipts() if receipt.error] == dropped
    with pytest.raises(SpoolFullError, match="is full: 4 exports wait"):
        host.detach(host.make_files(6, count=4), outcome="failed")
    left = [waiting.id for waiting in host.spool.jobs()]
    assert left == kept  # it would not have helped
    assert sorted(host.waiting()) == sorted(kept)


def test_what_was_sent_is_not_sent_again(host: Host) -> None:
    """Killed between the publication and the end, and then somebody deletes the export."""
    detached = host.detach(host.make_files(1))
    copy = host.directory / "copy"
    shutil.copytree(detached.directory, copy)
    assert work(host)
    with connect(host.storage) as remote:
        delete_export(Repository.open(remote), detached.id)
    copy.rename(detached.directory)
    assert work(host)
    assert host.exports() == []
    assert host.waiting() == []


def killed_at(number: int, host: Host) -> None:
    """A worker whose process ends before its n-th step."""
    steps = itertools.count(1)

    def step() -> None:
        if next(steps) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    class Steps:
        def __init__(self, remote: Remote) -> None:
            self._remote = remote

        def __getattr__(self, name: str) -> Any:
            found = getattr(self._remote, name)
            if not callable(found):
                return found

            def counted(*arguments: Any, **keywords: Any) -> Any:
                step()
                return found(*arguments, **keywords)

            return counted

    @contextmanager
    def counting(url: str, **options: Any) -> Iterator[Any]:
        with connect(url, **options) as remote:
            yield Steps(remote)

    def before(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any, **keywords: Any) -> Any:
            step()
            return original(*arguments, **keywords)

        setattr(owner, name, counted)

    sending.connect = counting  # type: ignore[attr-defined,assignment] # it imports that name
    for owner, name in (
        (Path, "rename"),
        (Path, "unlink"),
        (shutil, "rmtree"),
        (job, "write_whole"),
        (receipts, "write_whole"),
        (os, "unlink"),
    ):
        before(owner, name)
    work(host)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
def test_a_worker_that_is_killed_at_every_step(tmp_path: Path) -> None:
    for number in itertools.count(1, step=1 if LONG_RUN else 5):
        host = Host(tmp_path / str(number))
        host.directory.mkdir()
        detached = host.detach(host.make_files(1, count=2, size=40_000), outcome="failed")
        process = PROCESSES.Process(target=killed_at, args=(number, host))
        process.start()
        process.join()
        assert work(host), number
        assert host.exports() == [detached.id], number
        assert host.waiting() == [], number
        with connect(host.storage) as remote:
            assert not verify(Repository.open(remote), read_data=True).findings, number
        shutil.rmtree(host.directory)
        if process.exitcode == 0:
            break
    assert number > 60
