"""Users without root ask the worker, which takes what libvirt would let them read, and no more."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.errors import ConflictError, DevopsError, NotFoundError
from devops_snapshot.manifest import Manifest
from devops_snapshot.shell import main
from devops_snapshot.spool import (
    AskedQueue,
    CannotDetachError,
    Desk,
    Parcel,
    SpoolFullError,
    Worker,
    listening,
    take_in,
)
from devops_snapshot.spool.without_root.asked import NoWorkerError
from devops_snapshot.spool.without_root.desk import Asker
from devops_snapshot.spool.without_root.pool_files import PoolFiles
from devops_snapshot.spool.without_root.requests import TakeIn
from devops_snapshot.spool.without_root.wire import Wire
from devops_snapshot.store import new_export_id
from tests.bed.user import GAMES
from tests.manifest.real import document
from tests.store.place import noise

from .waiting import Host

LONG_RUN = bool(os.environ.get("DEVOPS_LONG_RUN"))
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
POOLS = "<node><pool type='dir'><name>default</name><target><path>{}</path></target></pool></node>"
ANN, BOB = 5, 6  # users


@dataclass(frozen=True)
class Office:
    """A host on which a worker listens.

    :param host: of root's; others see only the socket
    """

    host: Host
    socket: Path

    @property
    def desk(self) -> Desk:
        return Desk(self.host.spool, [self.host.storage], self._libvirt(), tell=lambda line: None)

    @property
    def queue(self) -> AskedQueue:
        return AskedQueue(self.socket)

    @contextmanager
    def open(self, *, patience: float = 30.0) -> Iterator[None]:
        with listening(self.socket, self.desk.answer, group=GAMES.gid, patience=patience):
            yield

    def parcel(self, **changes: Any) -> Parcel:
        """What a user has in the pool; its files are there."""
        written = document()
        for number, file in enumerate(written["files"]):
            path = self.host.pool / Path(file["path"]).name
            if not path.exists():
                path.write_bytes(noise(50_000, number))
            file["layer"] = None
        text = json.dumps(written).replace("/var/lib/libvirt/images", str(self.host.pool))
        manifest = Manifest.from_json(text.encode())
        sealed = frozenset(file.path for file in manifest.files)
        parcel = Parcel(new_export_id(), self.host.storage, manifest, sealed, timedelta(days=3))
        return replace(parcel, **changes)

    def _libvirt(self) -> str:
        """libvirt's test driver, which has the pool."""
        config = self.host.directory / "libvirt.xml"
        config.write_text(POOLS.format(self.host.pool))
        return f"test://{config}"


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    tmp_path.joinpath("pool").mkdir()
    seen_by_all = Path(tempfile.mkdtemp())
    seen_by_all.chmod(0o711)
    yield Office(Host(tmp_path), seen_by_all / "socket")
    shutil.rmtree(tmp_path / "spool", ignore_errors=True)  # so that guards end
    shutil.rmtree(seen_by_all)


@pytest.fixture
def opened(office: Office) -> Iterator[Office]:
    with office.open():
        yield office


def by_user(uid: int, gid: int, act: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, or the error that it raises, in a process of that user."""
    ours, theirs = PROCESSES.Pipe()
    process = PROCESSES.Process(target=_act, args=(theirs, uid, gid, act, arguments))
    process.start()
    theirs.close()
    with ours:
        result = ours.recv()
    process.join()
    return result


def _act(result: Any, uid: int, gid: int, act: Callable[..., Any], arguments: Any) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    try:
        result.send(act(*arguments))
    except DevopsError as error:
        result.send((type(error).__name__, str(error)))


def work(office: Office) -> bool:
    return Worker(office.host.spool).run(once=True)


def test_users_without_root(opened: Office) -> None:
    queue, parcel = opened.queue, opened.parcel()
    contents = [Path(path).read_bytes() for path in parcel.paths]
    kind, line = by_user(ANN, 100, queue.take_in, parcel)
    assert (kind, "Permission denied" in line) == ("CannotDetachError", True)
    assert by_user(ANN, GAMES.gid, queue.take_in, parcel) is None
    assert by_user(ANN, GAMES.gid, queue.take_in, parcel)[0] == "CannotDetachError"
    shutil.rmtree(opened.host.pool)
    [waiting] = by_user(BOB, GAMES.gid, queue.overview).waiting
    assert (waiting.job.id, waiting.job.uid, waiting.job.keep) == (parcel.id, ANN, parcel.keep)
    assert by_user(BOB, GAMES.gid, queue.summary, parcel.id)["environment"] == "trip"
    assert by_user(ANN, GAMES.gid, queue.fate, parcel.id).waits
    assert work(opened)
    assert opened.host.exports() == [parcel.id]
    assert opened.host.content_of(parcel.id) == contents
    fate = by_user(ANN, GAMES.gid, queue.fate, parcel.id)
    assert (fate.waits, fate.receipt.error, fate.receipt.bytes_sent > 0) == (False, "", True)
    assert opened.host.waiting() == []


def test_what_is_anothers(opened: Office) -> None:
    queue, parcel = opened.queue, opened.parcel()
    assert by_user(ANN, GAMES.gid, queue.take_in, parcel) is None
    opened.host.repository.write_text("in the way")
    assert not work(opened)
    by_user(BOB, GAMES.gid, queue.retry)
    assert queue.overview().waiting[0].tries.number == 1
    by_user(ANN, GAMES.gid, queue.retry)
    assert queue.overview().waiting[0].tries.number == 0
    kind, line = by_user(BOB, GAMES.gid, queue.drop, parcel.id)
    assert (kind, line) == ("ConflictError", f"{parcel.id} is another user's export")
    assert by_user(ANN, GAMES.gid, queue.drop, new_export_id())[0] == "NotFoundError"
    assert by_user(ANN, GAMES.gid, queue.drop, parcel.id) is None
    assert opened.host.waiting() == []
    fate = queue.fate(parcel.id)
    assert fate.receipt is not None
    assert fate.receipt.error == "dropped by a user"


def outside(parcel: Parcel) -> None:
    directory = Path(parcel.paths[0]).parent
    directory.rename(directory.with_name("elsewhere"))
    directory.mkdir()
    for path in map(Path, parcel.paths):
        path.symlink_to(directory.with_name("elsewhere") / path.name)


def a_pipe(parcel: Parcel) -> None:
    path = Path(parcel.paths[-1])
    path.unlink()
    os.mkfifo(path)


def a_directory(parcel: Parcel) -> None:
    path = Path(parcel.paths[-1])
    path.unlink()
    path.mkdir()


def gone(parcel: Parcel) -> None:
    Path(parcel.paths[-1]).unlink()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (outside, "is no regular file"),
        (a_pipe, "is no regular file"),
        (a_directory, "is no regular file"),
        (gone, "is gone"),
    ],
)
def test_files_that_are_none(opened: Office, change: Callable[[Parcel], None], told: str) -> None:
    parcel = opened.parcel()
    change(parcel)
    with pytest.raises(CannotDetachError, match=told):
        opened.queue.take_in(parcel)
    assert opened.host.waiting() == []


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{}/../secret", "{}/below/file", "{}//file", "{}/\0", "relative"]
)
def test_files_of_no_pool(office: Office, path: str) -> None:
    pool = office.host.pool
    for file in (pool / "file", pool / "below/file", pool.parent / "secret"):
        file.parent.mkdir(exist_ok=True)
        file.write_text("of the host")
    files = PoolFiles([pool])
    with files.opened(str(pool / "file")) as descriptor:
        assert os.read(descriptor, 100) == b"of the host"
    with (
        pytest.raises(CannotDetachError, match="in no storage pool"),
        files.opened(path.format(pool)),
    ):
        pass


def test_pools_of_libvirt_only(opened: Office) -> None:
    parcel = opened.parcel()
    text = parcel.manifest.to_json().decode().replace(str(opened.host.pool), "/etc")
    parcel = replace(parcel, manifest=Manifest.from_json(text.encode()))
    with pytest.raises(CannotDetachError, match="/etc/trip_default_base is in no storage pool"):
        opened.queue.take_in(parcel)


def test_a_name_that_changes_its_meaning(office: Office) -> None:
    """The file that was checked is the one that is taken."""
    parcel = office.parcel()
    path = Path(parcel.paths[0])
    content = path.read_bytes()

    pool = PoolFiles([office.host.pool])

    @contextmanager
    def opening(name: str) -> Iterator[int]:
        with pool.opened(name) as descriptor:
            if name == str(path):
                path.rename(path.with_name("another"))
                path.symlink_to("/etc/passwd")
            yield descriptor

    job = take_in(office.host.spool, parcel, uid=ANN, opening=opening)
    assert (job.files / "0").read_bytes() == content


@pytest.mark.parametrize(
    "storage", ["file:///etc", "sftp://other@storage/repository", "nonsense", "file://{}/../other"]
)
def test_storage_nodes_that_nobody_allows(opened: Office, storage: str) -> None:
    parcel = opened.parcel(storage=storage.format(opened.host.repository))
    with pytest.raises(CannotDetachError, match=r"(?i)sends nothing to|storage url"):
        opened.queue.take_in(parcel)
    assert opened.host.waiting() == []


def test_layers_that_were_not_sent(opened: Office) -> None:
    parcel = opened.parcel()
    [first, *others] = parcel.manifest.files
    files = (first.model_copy(update={"layer": "0" * 64}), *others)
    manifest = parcel.manifest.model_copy(update={"files": files})
    with pytest.raises(CannotDetachError, match="names layers"):
        opened.queue.take_in(replace(parcel, manifest=manifest))


def talk(office: Office, data: bytes) -> dict[str, Any]:
    """The answer to anything."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(office.socket))
        connection.sendall(data)
        text, _ = Wire(connection, seconds=30).receive(most_text=1 << 20, most_body=0)
    return json.loads(text)


@pytest.mark.parametrize(
    ("text", "body", "sent", "kind"),
    [
        (1 << 40, 0, b"", "FormatError"),
        (2, 1 << 40, b"", "FormatError"),
        (2, 0, b"{}", "FormatError"),
        (2, 0, b"\xff\xff", "FormatError"),
        (17, 0, b'{"ask":"nothing"}', "FormatError"),
        (45, 0, b'{"ask":"tell fate","id":"../../etc/passwd"}  ', "FormatError"),
    ],
)
def test_messages_of_no_use(opened: Office, text: int, body: int, sent: bytes, kind: str) -> None:
    answer = talk(opened, struct.pack("!QQ", text, body) + sent)
    assert answer["refused"] == kind
    assert len(answer["message"]) < 1200


def test_a_manifest_that_is_none(opened: Office) -> None:
    request = TakeIn(id=new_export_id(), storage=opened.host.storage, sealed=())
    text = request.model_dump_json().encode()
    for manifest in (b"[" * 100_000, b"{}", b"\0" * 1000):
        answer = talk(opened, struct.pack("!QQ", len(text), len(manifest)) + text + manifest)
        assert answer["refused"] == "FormatError"


def test_half_a_request(opened: Office) -> None:
    """Of a user who was killed."""
    parcel = opened.parcel()
    manifest = parcel.manifest.to_json()
    request = TakeIn(id=parcel.id, storage=parcel.storage, sealed=tuple(range(7)))
    text = request.model_dump_json().encode()
    whole = struct.pack("!QQ", len(text), len(manifest)) + text + manifest
    for size in (1, 20, len(whole) - len(manifest), len(whole) - 1):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(opened.socket))
            connection.sendall(whole[:size])
    assert opened.queue.overview().waiting == ()
    assert talk(opened, whole) == {}
    assert opened.host.waiting() == [parcel.id]


def test_those_who_hang_are_in_nobodys_way(office: Office) -> None:
    with office.open(patience=0.2):
        hanging = [socket.socket(socket.AF_UNIX) for _ in range(10)]
        for connection in hanging:
            connection.connect(str(office.socket))
            connection.sendall(b"\0")
        assert office.queue.overview().waiting == ()
        for connection in hanging:
            connection.close()


def test_he_who_asks_goes(office: Office) -> None:
    """Then nobody says that guests stood still: what was taken is given back."""
    ours, theirs = socket.socketpair()
    parcel = office.parcel()
    request = TakeIn(id=parcel.id, storage=parcel.storage, sealed=())
    with ours:
        wire = Wire(ours, seconds=30)
        assert wire.is_there()
        theirs.close()
        asker = Asker(ANN, wire.is_there)
        with pytest.raises(DevopsError, match=r"has gone|cannot clone"):
            office.desk.answer(request, parcel.manifest.to_json(), asker)
        request = request.model_copy(update={"sealed": tuple(range(7))})
        with pytest.raises(DevopsError, match="has gone"):
            office.desk.answer(request, parcel.manifest.to_json(), asker)
    assert office.host.waiting() == []


@override_settings(DEVOPS_SPOOL_LIMIT="1000")
def test_a_full_spool_is_told_as_such(opened: Office) -> None:
    with pytest.raises(SpoolFullError, match="is full"):
        opened.queue.take_in(opened.parcel())


def test_sockets_of_others(office: Office) -> None:
    with pytest.raises(NoWorkerError, match="No such file"):
        office.queue.check()
    with office.open():
        with pytest.raises(ConflictError, match="another worker listens"), office.open():
            pass
        assert office.queue.has_worker()
    assert not office.socket.exists()
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(office.socket))
    with pytest.raises(NotFoundError, match="refused"):
        office.queue.check()
    with office.open():
        office.queue.check()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--spool", "/proc/nothing"), "the spool /proc/nothing cannot be used"),
        (("--spool", ""), "--spool names no directory"),
        (("--group", "nobody's"), "there is no group"),
        (("--storage", "nonsense"), "Storage URL 'nonsense'"),
    ],
)
def test_workers_that_cannot_begin(
    options: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They do not say before that they have begun."""
    assert main(["export-worker", "--spool", str(tmp_path), *options]) != 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: {told}")


def killed_at(number: int, office: Office, ready: Any) -> None:
    """A worker whose process ends before its n-th step."""
    steps = itertools.count(1)

    def before(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any, **keywords: Any) -> Any:
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **keywords)

        setattr(owner, name, counted)

    with office.open():
        for owner, name in (
            (Path, "mkdir"),
            (Path, "open"),
            (Path, "rename"),
            (Path, "replace"),
            (os, "link"),
            (os, "fsync"),
            (Wire, "send"),
        ):
            before(owner, name)
        ready.send(None)
        ready.recv()


def test_a_worker_that_is_killed_at_every_step(office: Office) -> None:
    parcel = office.parcel()
    for number in itertools.count(1, step=1 if LONG_RUN else 3):
        ours, theirs = PROCESSES.Pipe()
        process = PROCESSES.Process(target=killed_at, args=(number, office, theirs))
        process.start()
        ours.recv()
        parcel, told = office.parcel(), ""
        try:
            office.queue.take_in(parcel)
        except CannotDetachError as error:
            told = error.message
        ours.send(None)
        process.join()
        if process.exitcode == 0:
            break
        assert "has not answered" in told
        office.host.spool.sweep()
        whole = office.host.waiting()
        assert whole in ([], [parcel.id])
        for job in office.host.spool.jobs():
            assert len(list(job.files.iterdir())) == len(parcel.paths)
            office.host.spool.drop(job, "")
    assert told == ""
    assert office.host.waiting() == [parcel.id]
    assert number > 20
