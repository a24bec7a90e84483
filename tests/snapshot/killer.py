"""``dos.py`` that kills itself.

Whatever a command changes (by libvirt, ``qemu-img``, in the database, in the pool) is an *effect*.
Effects are numbered, and the process is killed right after one, or while it is going on. It is a
process of its own, forked on the host from one that has everything imported already.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper

from devops_snapshot import shell
from devops_snapshot.snapshot import qemu_img
from tests.bed import Host

SERVER = """
import tests.devops.databases  # sets up Django
from tests.snapshot.killer import serve
serve()
"""

CHANGES: dict[type, tuple[str, ...]] = {
    libvirt.virDomain: (
        *("snapshotCreateXML", "suspend", "resume", "destroy", "createWithFlags", "setMetadata"),
        *("blockCommit", "blockJobAbort", "blockRebase", "blockPull", "revertToSnapshot"),
    ),
    libvirt.virConnect: ("defineXML", "restoreFlags"),
    libvirt.virDomainSnapshot: ("delete",),
    libvirt.virStorageVol: ("delete",),
    libvirt.virStoragePool: ("createXML", "createXMLFrom"),
    subprocess.Popen: ("__init__",),
    BaseDatabaseWrapper: ("commit",),
    Path: ("unlink", "replace"),
}
SLOW = 64 << 10  # bytes per second


@dataclass(frozen=True)
class Moment:
    """When a command is killed, and who with it.

    :param at: number of the effect, from 1; 0: never
    :param of: only those are counted in whose description this is
    :param during: while it is going on (QEMU's jobs being slow), not after it
    :param victims: ``self``, ``qemu`` (of all nodes), or both
    :param orphan: what the command has started, and goes on without it, is stopped at first
    """

    at: int = 0
    of: str = ""
    during: bool = False
    victims: tuple[str, ...] = ("self",)
    orphan: bool = False


NEVER = Moment()


class Suicide:
    """Kills this process when the moment has come.

    :param log: file descriptor; a line for every effect
    :param run: directory with the files that tell QEMU's process ids
    """

    def __init__(self, moment: Moment, *, log: int, run: Path) -> None:
        self._moment, self._log, self._run = moment, log, run
        self._count, self._lock = 0, threading.Lock()

    def watch(self) -> None:
        """See every effect from now on."""
        for owner, names in CHANGES.items():
            for name in names:
                self._wrap(owner, name)
        self._wrap(qemu_img, "_run")
        self._wrap(qemu_img, "sync")
        self._wrap(libvirt_qemu, "qemuMonitorCommand", lambda _, command, *__: '"stop"' in command)
        self._wrap(CursorWrapper, "execute", _commits_itself)
        if self._moment.during:
            _slow_down("blockCommit", 4, libvirt.VIR_DOMAIN_BLOCK_COMMIT_BANDWIDTH_BYTES)
            _slow_down("blockRebase", 3, libvirt.VIR_DOMAIN_BLOCK_REBASE_BANDWIDTH_BYTES)
            _slow_down("blockPull", 2, libvirt.VIR_DOMAIN_BLOCK_PULL_BANDWIDTH_BYTES)

    def _wrap(self, owner: Any, name: str, counts: Callable[..., bool] | None = None) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def watched(*arguments: Any, **keywords: Any) -> Any:
            if counts is not None and not counts(*arguments, **keywords):
                return original(*arguments, **keywords)
            come = self._begin(f"{owner.__name__}.{name} {_told(arguments)}")
            if come and self._moment.during:
                threading.Timer(0.002, self._kill, arguments).start()
            result = original(*arguments, **keywords)
            if come and not self._moment.during:
                self._kill(*arguments)
            return result

        setattr(owner, name, watched)

    def _begin(self, what: str) -> bool:
        """Whether this is it."""
        with self._lock:
            self._tell(what)
            self._count += self._moment.of in what
            return self._moment.of in what and self._count == self._moment.at

    def _tell(self, what: str) -> None:
        os.write(self._log, f"{what.splitlines()[0]}\n".encode())

    def _kill(self, *arguments: Any) -> None:
        if self._moment.orphan and isinstance(arguments[0], subprocess.Popen):
            os.kill(arguments[0].pid, signal.SIGSTOP)
            self._tell(f"orphan {arguments[0].pid}")
        if "qemu" in self._moment.victims:
            for file in self._run.glob("env_*.pid"):
                os.kill(int(file.read_text()), signal.SIGKILL)
        if "self" in self._moment.victims:
            os.kill(os.getpid(), signal.SIGKILL)


def _told(arguments: tuple[Any, ...]) -> str:
    said = [item.name() if callable(getattr(item, "name", None)) else item for item in arguments]
    words = [" ".join(item) if isinstance(item, list) else item for item in said]
    words = [str(item) if isinstance(item, Path) else item for item in words]
    return " ".join(w for w in words if isinstance(w, str) and not w.startswith("<"))


def _commits_itself(cursor: Any, sql: str, *_: Any, **__: Any) -> bool:
    return not cursor.db.in_atomic_block and sql.split()[0] in ("INSERT", "UPDATE", "DELETE")


def _slow_down(method: str, position: int, flag: int) -> None:
    original = getattr(libvirt.virDomain, method)

    def slow(*arguments: Any) -> Any:
        head, tail = arguments[:position], arguments[position + 1 :]
        *rest, flags = tail or (0,)
        return original(*head, SLOW, *rest, flags | flag)

    setattr(libvirt.virDomain, method, slow)


def serve() -> None:
    """Fork for every line of standard input; answer how it ended."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with suppress(SystemExit):
        shell.main(["help", "snapshot"])
    sys.stdout.flush()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run_command(**json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers, flush=True)


def _run_command(argv: list[str], moment: dict[str, Any], log: str, said: str, run: str) -> None:
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    log_file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    Suicide(Moment(**moment), log=log_file, run=Path(run)).watch()
    code = 70
    try:
        code = shell.main(argv)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 71
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        os._exit(code)


@dataclass(frozen=True)
class Ended:
    """:param effects: those that it came to"""

    code: int
    effects: tuple[str, ...]
    said: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Dos:
    """``dos.py`` on a host, in a process of its own each time.

    :param server: program that calls :func:`serve`
    """

    def __init__(self, host: Host, variables: dict[str, str], *, server: str = SERVER) -> None:
        command = [sys.executable, "-c", server]
        self._directory = host.directory
        self._server = host.popen(command, env=variables, stdin=subprocess.PIPE, stderr=None)

    def __call__(self, *argv: str, moment: Moment = NEVER) -> Ended:
        log, said = self._directory / "effects", self._directory / "said"
        order = {"argv": argv, "moment": asdict(moment), "log": str(log), "said": str(said)}
        order["run"] = str(self._directory / "run/libvirt/qemu")
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(order), file=self._server.stdin, flush=True)
        code = int(self._server.stdout.readline())
        return Ended(code, tuple(log.read_text().splitlines()), said.read_text())

    def close(self) -> None:
        self._server.communicate()
