"""The storage node of the bed: an sshd that gives out SFTP and nothing else."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .compartment import Compartment
from .host import Host
from .user import User

START_TIMEOUT = 15.0  # seconds
SSHD_CONFIG = """\
ListenAddress {address}:{port}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
ForceCommand internal-sftp
MaxStartups 100
MaxSessions 100
"""
CLIENT_CONFIG = """\
Host {address}
  Port {port}
  User {user}
  IdentityFile {home}/.ssh/id_ed25519
  UserKnownHostsFile {home}/.ssh/known_hosts
"""
#: The user of a storage node that has its own ``/etc/passwd``.
DEVOPS = User("devops", uid=64321, gid=64321)


@dataclass(frozen=True)
class Login:
    """As whom and where the storage node is reached."""

    user: str
    address: str
    port: int


class Storage:
    """:param directory: everything that belongs to the storage node
    :param address: its own one, if it has namespaces; otherwise it listens on 127.0.0.1
    :param user: who runs sshd where there are no namespaces; None: as we are
    """

    def __init__(
        self, *, directory: Path, bed: Path, address: str | None, user: User | None
    ) -> None:
        self.directory = directory
        #: The directory that holds the repositories, seen from outside.
        self.srv = directory / "srv"
        self.log_file = directory / "sshd.log"
        self.srv.mkdir(parents=True)
        self._make_keys()
        if address is not None:
            self.login = Login(DEVOPS.name, address, 22)
            self._root = Path("/srv")
            mounts = self._private_machine()
            DEVOPS.owns(self.srv)
        else:
            self.login = Login(user.name if user else getpass.getuser(), "127.0.0.1", _free_port())
            self._root = self.srv
            mounts = None
            if user is not None:
                user.owns(directory)
        self.compartment = Compartment(directory, bed=bed, mounts=mounts)
        self._sshd_as = user.runs() if user else []

    @property
    def url(self) -> str:
        """Of a directory for a repository; it is not there yet."""
        return self.url_of("devops")

    def url_of(self, name: str) -> str:
        """The URL of another repository on the same storage node."""
        to = self.login
        port = "" if to.port == 22 else f":{to.port}"
        return f"sftp://{to.user}@{to.address}{port}{self._root}/{name}"

    def path_of(self, url: str) -> Path:
        """Where the repository of such a URL lies, seen from outside."""
        return self.srv / url.rpartition("/")[2]

    def admit(self, host: Host) -> None:
        """Give a host the user's key and the storage node's host key, in its ``~/.ssh``."""
        ssh = host.home / ".ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        for suffix in ("", ".pub"):
            shutil.copy(self.directory / f"user_key{suffix}", ssh / f"id_ed25519{suffix}")
        to = self.login
        name = to.address if to.port == 22 else f"[{to.address}]:{to.port}"
        key_type, key, *_ = (self.directory / "host_key.pub").read_text().split()
        (ssh / "known_hosts").write_text(f"{name} {key_type} {key}\n")
        (ssh / "config").write_text(
            CLIENT_CONFIG.format(address=to.address, port=to.port, user=to.user, home=host.home)
        )
        if host.user is not None:
            host.user.owns(ssh)

    def start(self) -> None:
        """Start sshd and return when it listens."""
        to = self.login
        config = self.directory / "sshd_config"
        config.write_text(
            SSHD_CONFIG.format(address=to.address, port=to.port, directory=self.directory)
        )
        command = [*self._sshd_as, "/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
        self.compartment.daemon(command, env={"PATH": "/usr/sbin:/usr/bin"}, log=self.log_file)
        deadline = time.monotonic() + START_TIMEOUT
        while "Server listening" not in self.log():
            if time.monotonic() > deadline:
                raise RuntimeError(f"sshd did not start: {self.log()}")
            time.sleep(0.02)

    def clean(self) -> None:
        """Remove all repositories."""
        for path in self.srv.iterdir():
            shutil.rmtree(path)

    def close(self) -> None:
        self.compartment.close()

    def log(self) -> str:
        """What sshd has said so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def _make_keys(self) -> None:
        for name in ("host_key", "user_key"):
            path = str(self.directory / name)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", path]
            subprocess.run(command, check=True)
        shutil.copy(self.directory / "user_key.pub", self.directory / "authorized_keys")

    def _private_machine(self) -> dict[str, Path]:
        """Mounts with its own ``/run`` and ``/srv`` and a user that only this machine has."""
        accounts = {
            "passwd": f"{DEVOPS.name}:x:{DEVOPS.uid}:{DEVOPS.gid}::/srv:/bin/sh",
            "group": f"{DEVOPS.name}:x:{DEVOPS.gid}:",
            "shadow": f"{DEVOPS.name}:*:::::::",
        }
        etc = self.directory / "etc"
        etc.mkdir()
        for name, line in accounts.items():
            present = Path("/etc", name).read_text()
            (etc / name).write_text(f"{present.rstrip()}\n{line}\n")
        (etc / "shadow").chmod(0o600)
        run = self.directory / "run"
        (run / "sshd").mkdir(parents=True)
        return {"/run": run, "/srv": self.srv} | {f"/etc/{name}": etc / name for name in accounts}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
