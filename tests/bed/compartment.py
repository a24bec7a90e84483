"""A compartment: processes that live in namespaces of their own and die together.

With namespaces it has its own mount, network and PID namespace and host name, so that daemons find
private directories at their usual paths, and nothing survives it. Without them (no rights) it is
only a keeper: the daemons still die with the owner, but share the machine's network and paths.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType

from .keeper import descendants

KEEPER = Path(__file__).with_name("keeper.py")
UNSHARE = ("unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--mount-proc")


@cache
def namespaces_available() -> bool:
    """Whether this process may make mount, network and PID namespaces."""
    return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


class Process(subprocess.Popen[str]):
    """A command in a compartment; signals reach the command, not the ``nsenter`` in front of it."""

    #: Whether there is one.
    entered = False

    def send_signal(self, sig: int) -> None:
        pid = _only_child(self.pid) if self.entered else self.pid
        if self.poll() is None and pid is not None:
            os.kill(pid, sig)


class Compartment:
    """:param directory: the part of the bed that is seen inside
    :param bed: the bed's directory; what else is in it is hidden inside
    :param mounts: private directories and files, by the path at which they are seen inside
    """

    def __init__(
        self,
        directory: Path,
        *,
        bed: Path,
        mounts: Mapping[str, Path] | None,
    ) -> None:
        self.namespaces = mounts is not None
        script = _mount_script(directory, bed=bed, mounts=mounts) if mounts is not None else ""
        unshare = (*UNSHARE, "--kill-child") if mounts is not None else ()
        self._keeper = subprocess.Popen(
            [*unshare, sys.executable, "-I", str(KEEPER), script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the owner, who closes us in order
        )
        if self._read_answer() != "ready":
            self.close()
            raise RuntimeError(f"the namespaces for {directory} could not be set up")
        self.pid = self._keeper.pid
        if self.namespaces:
            inside = _only_child(self._keeper.pid)
            assert inside is not None, "unshare has no child although it answered"
            self.pid = inside

    def daemon(self, argv: Sequence[str], *, env: Mapping[str, str], log: Path) -> int:
        """Start a process that runs in the foreground until the compartment is closed.

        :return: its process id as it is seen inside
        """
        request = {"argv": list(argv), "env": dict(env), "log": str(log)}
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(json.dumps(request) + "\n")
        self._keeper.stdin.flush()
        return int(self._read_answer())

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = subprocess.PIPE,
        stderr: int | None = subprocess.PIPE,
        cwd: Path,
        user: Sequence[str] = (),
    ) -> Process:
        """Start a command inside; it dies with the compartment and with the calling thread.

        :param user: put before the command to run it as another user
        """
        # Changing the user would clear the signal: so that comes first.
        last_will = ["setpriv", "--pdeathsig", "KILL", "--"]
        command = ["env", f"--chdir={cwd}", *user, *last_will, *argv]
        if self.namespaces:
            namespaces = ["--mount", "--net", "--uts", "--pid"]
            command = ["nsenter", f"--target={self.pid}", *namespaces, *command]
        process = Process(command, env=env, stdin=stdin, stdout=stdout, stderr=stderr, text=True)
        process.entered = self.namespaces
        return process

    def close(self) -> None:
        """Kill all that runs inside and return when it is gone."""
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait()
        self._keeper.stdout.close()

    def __enter__(self) -> Compartment:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read_answer(self) -> str:
        assert self._keeper.stdout is not None
        return self._keeper.stdout.readline().strip()


def make_bridge(compartment: Compartment, *, name: str, address: str) -> None:
    """:param address: of the bridge itself, with the prefix length"""
    _configure(compartment, f"ip link add {name} type bridge")
    _configure(compartment, f"ip address add {address} dev {name}")
    _configure(compartment, f"ip link set {name} up")


def lay_cable(
    switch: Compartment, end: Compartment, *, name: str, bridge: str, address: str
) -> None:
    """Connect ``end`` to a bridge of ``switch``: there as ``name``, at its own end as ``uplink``.

    :param address: of ``end``, with the prefix length
    """
    _configure(switch, f"ip link add {name} type veth peer name uplink netns {end.pid}")
    _configure(switch, f"ip link set {name} master {bridge} up")
    _configure(end, f"ip address add {address} dev uplink")
    _configure(end, "ip link set uplink up")


def _configure(compartment: Compartment, command: str) -> None:
    # Only the network namespace is entered, so that process ids mean there what they mean here.
    subprocess.run(
        ["nsenter", f"--target={compartment.pid}", "--net", *command.split()], check=True
    )


def _mount_script(directory: Path, *, bed: Path, mounts: Mapping[str, Path]) -> str:
    lines = [
        f"echo {directory.name} > /proc/sys/kernel/hostname",
        "mount -t sysfs sysfs /sys",
        "ip link set lo up",
    ]
    lines += [f"mount --bind {source} {target}" for target, source in mounts.items()]
    lines += [
        # All of the bed but this compartment's own directory is covered by an empty one.
        f"mount --bind {directory} /mnt",
        f"mount -t tmpfs -o mode=755 tmpfs {bed}",
        f"mkdir {directory}",
        f"mount --move /mnt {directory}",
    ]
    return "\n".join(lines)


def _only_child(pid: int) -> int | None:
    return next(descendants(pid), None)
