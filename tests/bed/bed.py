"""The test bed: two or more libvirt hosts and a storage node on one machine.

Everything is private (namespaces, directories, keys), starts by itself, and goes when the owner
closes the bed or dies, in whatever way: keepers take the processes down, a janitor the directory.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from .compartment import lay_cable, make_bridge, namespaces_available
from .guest_image import guest_iso
from .host import Host
from .postgres import Postgres
from .storage import Storage
from .user import GAMES

JANITOR = Path(__file__).with_name("janitor.py")
PREFIX = "dsbed-"
#: Of the hosts and the storage node in the bed's own network (RFC 5737: never anybody's).
SUBNET = "198.51.100"
BRIDGE = "hosts"


class Bed:
    """:param namespaces: without them, hosts are unprivileged libvirt sessions without networks

    :raises RuntimeError: the rights for namespaces are wanted and missing
    """

    def __init__(self, *, namespaces: bool = True) -> None:
        if namespaces and not namespaces_available():
            raise RuntimeError(
                "no rights to make namespaces here: Bed(namespaces=False) needs none"
            )
        self.namespaces = namespaces
        self.hosts: dict[str, Host] = {}
        # libvirtd run by root is never a session: without namespaces root lends it another user.
        # Commands run as that user, too, and keep only the right to read and write any file.
        self._user = GAMES if not namespaces and os.geteuid() == 0 else None
        self._storage: Storage | None = None
        self._postgres: dict[str, Postgres] = {}
        self._numbers = itertools.count(11)
        self._exit = ExitStack()
        sweep_dead_beds()
        self.directory = self._exit.enter_context(_Directory()).path

    def host(self, name: str) -> Host:
        """The host of that name, started on first use."""
        if name not in self.hosts:
            self.hosts[name] = self._start_host(name)
        return self.hosts[name]

    def storage(self) -> Storage:
        """The storage node, started on first use; every host knows it and its key."""
        if self._storage is None:
            self._storage = self._start_storage()
        return self._storage

    def postgres(self, host: Host, *, timezone: str = "UTC") -> Postgres:
        """The PostgreSQL server of a host, started (in that time zone) on first use."""
        if host.name not in self._postgres:
            self._postgres[host.name] = Postgres(host, timezone=timezone)
        return self._postgres[host.name]

    @property
    def guest_iso(self) -> Path:
        """The test guest to boot from."""
        return guest_iso()

    def logs(self) -> dict[str, str]:
        """What the daemons have said so far, by host."""
        logs = {f"libvirtd on {name}": host.log() for name, host in self.hosts.items()}
        if self._storage is not None:
            logs["sshd on the storage node"] = self._storage.log()
        return logs

    def clean(self) -> None:
        """Leave the hosts, databases and the storage node running, and nothing on them."""
        for host in self.hosts.values():
            host.clean()
        for server in self._postgres.values():
            server.reset()
        if self._storage is not None:
            self._storage.clean()

    def close(self) -> None:
        """End all that runs in the bed and return when nothing is left of it."""
        self._exit.close()

    def __enter__(self) -> Bed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _start_host(self, name: str) -> Host:
        host = Host(
            name,
            directory=self.directory / name,
            bed=self.directory,
            namespaces=self.namespaces,
            user=self._user,
        )
        self._exit.callback(host.close)
        if self._storage is not None:
            self._introduce(host, self._storage)
        return host

    def _start_storage(self) -> Storage:
        storage = Storage(
            directory=self.directory / "storage",
            bed=self.directory,
            address=f"{SUBNET}.1" if self.namespaces else None,
            user=self._user,
        )
        self._exit.callback(storage.close)
        if self.namespaces:
            make_bridge(storage.compartment, name=BRIDGE, address=f"{SUBNET}.1/24")
        storage.start()
        for host in self.hosts.values():
            self._introduce(host, storage)
        return storage

    def _introduce(self, host: Host, storage: Storage) -> None:
        storage.admit(host)
        if self.namespaces:
            number = next(self._numbers)
            lay_cable(
                storage.compartment,
                host.compartment,
                name=f"host{number}",
                bridge=BRIDGE,
                address=f"{SUBNET}.{number}/24",
            )


class _Directory:
    """A bed's directory; the janitor removes it after the owner's end, however that comes."""

    def __enter__(self) -> _Directory:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.path.chmod(0o755)
        self._lock = _take_lock(self.path)
        self._janitor = subprocess.Popen(
            [sys.executable, "-I", str(JANITOR), str(self.path)],
            stdin=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._janitor.stdin is not None
        self._janitor.stdin.close()
        self._janitor.wait()
        os.close(self._lock)


def sweep_dead_beds() -> None:
    """Remove directories whose owner and janitor were both killed, or the machine was reset."""
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            lock = os.open(directory / "lock", os.O_RDWR)
        except OSError:  # just being made or removed, or another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(lock)


def _take_lock(directory: Path) -> int:
    """Lock first and show the lock afterwards, so that nobody finds it free in between."""
    hidden = directory / "lock.new"
    lock = os.open(hidden, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    hidden.rename(directory / "lock")
    return lock
