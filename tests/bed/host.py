"""A libvirt host of the bed: its own libvirtd, storage pool, home directory and database."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import libvirt

from .compartment import Compartment, Process
from .guest import Guest
from .interpreter import Interpreter
from .user import User

CHECKOUT = Path(__file__).parents[2]
START_TIMEOUT = 30.0  # seconds
LONG_RUN = bool(os.environ.get("DEVOPS_LONG_RUN"))

LIBVIRTD_CONF = """\
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
log_outputs = "2:stderr"
"""
QEMU_CONF = """\
security_driver = "none"
stdio_handler = "file"
"""
QEMU_CONF_OF_ROOT = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
namespaces = []
"""
POOL_XML = "<pool type='dir'><name>{name}</name><target><path>{path}</path></target></pool>"

# libvirt's Python binding prints every error to stderr, also those that are caught.
libvirt.registerErrorHandler(lambda _context, _error: None, None)


class Host:
    """:param directory: everything that belongs to the host, seen at the same path inside
    :param user: who runs libvirtd where there are no namespaces; None: as we are
    """

    def __init__(
        self,
        name: str,
        *,
        directory: Path,
        bed: Path,
        namespaces: bool,
        user: User | None = None,
    ) -> None:
        self.name = name
        self.directory = directory
        self.home = directory / "home"
        self.pool_dir = directory / "pool"
        self.log_file = directory / "libvirtd.log"
        self.namespaces = namespaces
        self.user = user
        self._make_directories(root=namespaces)
        self.compartment = Compartment(
            directory, bed=bed, mounts=self._mounts() if namespaces else None
        )
        self.uri = f"qemu:///{'system' if namespaces else 'session'}?socket={self.socket}"
        self.env = self._environment()
        self._guests: dict[str, Guest] = {}
        self._connection: libvirt.virConnect | None = None
        self._interpreter: Interpreter | None = None
        self._start_libvirtd()
        self._define_pool()

    # Running things on the host

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float | None = 120.0,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the host's namespaces, with :attr:`env` and what ``env`` adds to it.

        :raises subprocess.CalledProcessError: with ``check``, when it fails
        :raises subprocess.TimeoutExpired: after ``timeout`` seconds; the command is killed
        """
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        with self.popen(argv, env=env, stdin=stdin, cwd=cwd) as process:
            try:
                stdout, stderr = process.communicate(input, timeout=timeout)
            except BaseException:
                process.kill()
                raise
        done = subprocess.CompletedProcess(list(argv), process.returncode, stdout, stderr)
        return _checked(done) if check else done

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = subprocess.PIPE,
        stderr: int | None = subprocess.PIPE,
        cwd: Path | None = None,
    ) -> Process:
        """Start a command in the host's namespaces. Signal it through the returned process only."""
        return self.compartment.popen(
            argv,
            user=self.user.runs(any_file=True) if self.user else (),
            env={**self.env, **(env or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd or self.home,
        )

    def dos(
        self,
        *arguments: str,
        check: bool = True,
        timeout: float | None = 120.0,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """``dos.py ARGUMENTS`` on this host."""
        return self.python(
            "-m", "devops_snapshot", *arguments, check=check, timeout=timeout, env=env, input=input
        )

    def python(
        self,
        *arguments: str,
        check: bool = True,
        timeout: float | None = 120.0,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """``python ARGUMENTS`` on this host, as :meth:`run`, in a process that starts at once.

        It is forked from one that has the libraries loaded, unless a long run is asked for.

        :param arguments: ``-m MODULE ...`` or ``-c CODE ...``
        """
        if LONG_RUN or not self.namespaces:
            command = [sys.executable, *arguments]
            return self.run(command, check=check, timeout=timeout, env=env, input=input)
        if self._interpreter is None:
            self._interpreter = self._start_interpreter()
        done = self._interpreter.run(
            arguments, env={**self.env, **(env or {})}, cwd=self.home, input=input, timeout=timeout
        )
        return _checked(done) if check else done

    # libvirt

    def connect(self) -> libvirt.virConnect:
        """A new connection to the host's libvirtd, usable from outside the namespaces."""
        return libvirt.open(self.uri)

    @property
    def connection(self) -> libvirt.virConnect:
        """One connection that stays open until the host is closed."""
        if self._connection is None:
            self._connection = self.connect()
        return self._connection

    def guest(self, domain: str) -> Guest:
        """The test guest that runs in the domain of that name; always the same object."""
        if domain not in self._guests:
            self._guests[domain] = Guest(self, domain)
        return self._guests[domain]

    def log(self) -> str:
        """What libvirtd has said so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def restart_libvirtd(self) -> None:
        """Kill it and start it again; guests run on."""
        self.run(["kill", "-KILL", str(self._libvirtd)])
        if self._connection is not None:
            with suppress(libvirt.libvirtError):  # the other end is dead
                self._connection.close()
        self._connection = None
        self._start_libvirtd()

    # Being clean

    def clean(self) -> None:
        """Remove all domains, networks, filters, volumes, snapshots and databases of the host."""
        for guest in self._guests.values():
            guest.close()
        self._guests.clear()
        for domain in self.connection.listAllDomains():
            _remove_domain(domain)
        for network in self.connection.listAllNetworks():
            if network.isActive():
                network.destroy()
            with suppress(libvirt.libvirtError):  # a transient network is gone by now
                network.undefine()
        _remove_nwfilters(self.connection)
        for pool in self.connection.listAllStoragePools():
            if pool.isActive():
                pool.destroy()
            pool.undefine()
        _empty(self.pool_dir)
        for left in (self.home / ".devops", self.pool_dir.parent / ".devops_snapshot"):
            shutil.rmtree(left, ignore_errors=True)
        self._define_pool()

    def close(self) -> None:
        for guest in self._guests.values():
            guest.close()
        self.compartment.close()
        if self._connection is not None:
            with suppress(libvirt.libvirtError):  # the other end is dead already
                self._connection.close()

    def _make_directories(self, *, root: bool) -> None:
        for name in ("home", "pool", "run", "etc", "lib", "log", "cache"):
            (self.directory / name).mkdir(parents=True)
        settings = self.directory / "etc" if root else self.directory / "etc/libvirt"
        settings.mkdir(exist_ok=True)
        (settings / "libvirtd.conf").write_text(LIBVIRTD_CONF)
        (settings / "qemu.conf").write_text(QEMU_CONF + (QEMU_CONF_OF_ROOT if root else ""))
        if self.user:
            self.user.owns(self.directory)

    def _mounts(self) -> dict[str, Path]:
        return {
            "/run": self.directory / "run",  # also hides systemd and D-Bus from libvirt
            "/etc/libvirt": self.directory / "etc",
            "/var/lib/libvirt": self.directory / "lib",
            "/var/log/libvirt": self.directory / "log",
            "/var/cache/libvirt": self.directory / "cache",
        }

    @property
    def socket(self) -> Path:
        return self.directory / "run/libvirt/libvirt-sock"

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin"
            ":/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "USER": "root",
            "PYTHONPATH": str(CHECKOUT),
            "CONNECTION_STRING": self.uri,
        }

    def _start_libvirtd(self) -> None:
        directories = {
            "XDG_RUNTIME_DIR": self.directory / "run",
            "XDG_CONFIG_HOME": self.directory / "etc",
            "XDG_CACHE_HOME": self.directory / "cache",
            "XDG_DATA_HOME": self.directory / "lib",
        }
        env = {**self.env, **{name: str(path) for name, path in directories.items()}}
        command = [*(self.user.runs() if self.user else ()), "libvirtd"]
        self._libvirtd = self.compartment.daemon(command, env=env, log=self.log_file)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self.connection.getLibVersion()
                break
            except libvirt.libvirtError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"libvirtd of {self.name}: {error}\n{self.log()}") from error
                time.sleep(0.02)

    def _start_interpreter(self) -> Interpreter:
        return Interpreter(
            self.compartment,
            python=sys.executable,
            path=self.directory / "interpreter",
            env=self.env,
            log=self.directory / "interpreter.log",
        )

    def _define_pool(self) -> None:
        pool = self.connection.storagePoolDefineXML(
            POOL_XML.format(name="default", path=self.pool_dir)
        )
        pool.create()
        pool.setAutostart(True)


class CommandError(subprocess.CalledProcessError):
    """Like its base, but its text says also what the command said."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.stdout}{self.stderr}"


def _checked(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    if done.returncode:
        raise CommandError(done.returncode, done.args, done.stdout, done.stderr)
    return done


def _remove_domain(domain: libvirt.virDomain) -> None:
    with suppress(libvirt.libvirtError):  # it may be off, or ending just now
        domain.destroy()
    with suppress(libvirt.libvirtError):  # a transient domain is gone by now
        domain.undefineFlags(
            libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        )


def _remove_nwfilters(connection: libvirt.virConnect) -> None:
    """Those that others include can only go after these."""
    while nwfilters := connection.listAllNWFilters():
        for nwfilter in nwfilters:
            with suppress(libvirt.libvirtError):
                nwfilter.undefine()


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
