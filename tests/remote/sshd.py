"""A private sshd that offers SFTP on 127.0.0.1, for the tests of ``remote`` and ``store``."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

START_SECONDS = 10.0
CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
ForceCommand {command}
Subsystem sftp internal-sftp
MaxStartups {startups}
"""


@dataclass(frozen=True)
class Sshd:
    """A running sshd.

    :param home: a ``HOME`` whose ``~/.ssh`` can log in
    :param root: a directory that the storage user owns
    """

    port: int
    user: str
    directory: Path
    home: Path
    root: Path
    pid: int = 0

    def url(self, path: Path | None = None) -> str:
        return f"sftp://{self.user}@127.0.0.1:{self.port}{path or self.root}"

    @property
    def known_hosts(self) -> Path:
        return self.home / ".ssh" / "known_hosts"

    def new_directory(self, name: str) -> Path:
        """Make a directory below :attr:`root` that the storage user owns."""
        path = self.root / name
        path.mkdir()
        self.give(path)
        return path

    def cut_connections(self) -> None:
        """Kill the processes that serve connections; the listening one stays."""
        self._signal_connections(signal.SIGKILL)

    def silence_connections(self) -> None:
        """Stop the processes that serve connections, as if the network swallowed everything."""
        self._signal_connections(signal.SIGSTOP)

    def _signal_connections(self, number: signal.Signals) -> None:
        for child in _children(self.pid):
            for pid in (*_children(child), child):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def give(self, path: Path) -> None:
        """Make the storage user own a path, if tests run as root."""
        if os.geteuid() == 0:
            account = pwd.getpwnam(self.user)
            os.chown(path, account.pw_uid, account.pw_gid)


@contextmanager
def running_sshd(
    directory: Path, *, command: str = "internal-sftp", startups: str = "100"
) -> Iterator[Sshd]:
    """Start sshd with keys of its own and stop it at the end.

    :param command: what every login runs
    :param startups: how many may log in at the same time, see ``MaxStartups``
    """
    sshd = _prepare(directory, command, startups)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = ["/usr/sbin/sshd", "-D", "-e", "-f", str(directory / "sshd_config")]
    with (directory / "log").open("wb") as log, subprocess.Popen(server, stderr=log) as process:
        try:
            _await_listening(sshd.port, directory / "log", process)
            yield replace(sshd, pid=process.pid)
        finally:
            process.terminate()


def _children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def make_key(path: Path, kind: str = "ed25519") -> None:
    command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True)


def _prepare(directory: Path, command: str, startups: str) -> Sshd:
    directory.chmod(0o755)
    home, root = directory / "home", directory / "srv"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    root.mkdir()
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    sshd = Sshd(_free_port(), user, directory, home, root)
    sshd.give(root)
    make_key(directory / "host_key")
    make_key(home / ".ssh" / "id_ed25519")
    shutil.copy(home / ".ssh" / "id_ed25519.pub", directory / "authorized_keys")
    host_key = " ".join((directory / "host_key.pub").read_text().split()[:2])
    sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {host_key}\n")
    config = CONFIG.format(port=sshd.port, directory=directory, command=command, startups=startups)
    (directory / "sshd_config").write_text(config)
    return sshd


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_listening(port: int, log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"sshd did not start: {log.read_text()}")
