"""Strict checking of SSH host keys, with errors that say how to accept a key."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import paramiko

from devops_snapshot.errors import StorageError

_GLOBAL = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_USER = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")


class RejectUnknown(paramiko.MissingHostKeyPolicy):
    """Refuses a host that no known_hosts file names."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> None:
        raise StorageError(
            f"Host key of {hostname} is unknown: {key.get_name()} {fingerprint(key)}",
            hint="Compare this fingerprint with the storage node's, then accept the key with: "
            f"ssh-keyscan -p {self._port} {self._host} >> ~/.ssh/known_hosts",
        )


def changed_key(error: paramiko.BadHostKeyException, host: str, port: int) -> StorageError:
    """The error for a host that shows another key than the known one."""
    name = host if port == 22 else f"[{host}]:{port}"
    return StorageError(
        f"Host key of {name} has changed: it shows {error.key.get_name()} "
        f"{fingerprint(error.key)}, known is {error.expected_key.get_name()} "
        f"{fingerprint(error.expected_key)}",
        hint="Somebody may be listening in. If the storage node was really set up anew: "
        f"ssh-keygen -R '{name}', then connect again",
    )


def fingerprint(key: paramiko.PKey) -> str:
    """Return what ``ssh-keygen -l`` shows of a key."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def load_known_hosts(client: paramiko.SSHClient, settings: dict[str, str]) -> None:
    """Load the files that ``ssh`` would, given what ``~/.ssh/config`` says of the host."""
    user = settings.get("userknownhostsfile", "").split() or _USER
    system = settings.get("globalknownhostsfile", "").split() or _GLOBAL
    for name in (*user, *system):
        path = Path(name).expanduser()
        if path.is_file():
            client.load_system_host_keys(str(path))
