"""SSH connections the way ``ssh`` makes them: ``~/.ssh/config``, keys, agent, known_hosts."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import paramiko
from paramiko.ssh_exception import NoValidConnectionsError

from devops_snapshot.account import user_name
from devops_snapshot.errors import StorageError

from .host_keys import RejectUnknown, changed_key, load_known_hosts
from .patience import ConnectionLost, Unreachable
from .ssh_keys import held, locked
from .url import Location

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else it prints tracebacks

_TIMEOUT = 20.0  # seconds, for each of connecting, banner and authentication
_KEEPALIVE = 30  # seconds
_WINDOW = 16 * 1024 * 1024  # bytes under way while reading, so that distance costs no speed


@dataclass(frozen=True)
class Host:
    """A storage node after ``~/.ssh/config`` had its say."""

    name: str
    port: int
    user: str
    settings: dict[str, Any]

    @property
    def address(self) -> str:
        return f"{self.name} port {self.port}"

    @property
    def identities(self) -> Sequence[str]:
        """Key files that the configuration names and that exist."""
        return [name for name in self.settings.get("identityfile", []) if Path(name).is_file()]


def resolve(location: Location) -> Host:
    """Apply ``~/.ssh/config`` and ``/etc/ssh/ssh_config`` to what a URL says."""
    config = paramiko.SSHConfig()
    config.parse(StringIO(_first_choice(location)))
    for name in ("~/.ssh/config", "/etc/ssh/ssh_config"):
        path = Path(name).expanduser()
        if path.is_file():
            with path.open(encoding="utf-8") as file:
                config.parse(file)
    settings = config.lookup(location.host)
    return Host(
        name=settings["hostname"],
        port=int(settings.get("port", 22)),
        user=settings.get("user") or user_name(),
        settings=dict(settings),
    )


def _first_choice(location: Location) -> str:
    """What the URL says, as lines of a configuration: there the first value counts."""
    port = f"Port {location.port}\n" if location.port else ""
    user = f"User {location.user}\n" if location.user else ""
    return f"Host *\n{port}{user}"


def open_ssh(host: Host) -> paramiko.SSHClient:
    """Connect and authenticate.

    :raises ConnectionLost: it cannot be reached at the moment
    :raises StorageError: saying which of host, host key, user and keys was the obstacle
    """
    client = paramiko.SSHClient()
    load_known_hosts(client, host.settings)
    client.set_missing_host_key_policy(RejectUnknown(host.name, host.port))
    try:
        _connect(client, host)
    except BaseException:
        client.close()
        raise
    return client


def _connect(client: paramiko.SSHClient, host: Host) -> None:
    identities: Any = list(host.identities)  # the type stubs know only a single name
    try:
        only_named = host.settings.get("identitiesonly", "no") == "yes"
        client.connect(
            host.name,
            port=host.port,
            username=host.user,
            pkey=next(iter(held(identities)), None) if only_named else None,
            key_filename=identities or None,
            allow_agent=not only_named,
            look_for_keys=not identities and not only_named,
            timeout=_TIMEOUT,
            banner_timeout=_TIMEOUT,
            auth_timeout=_TIMEOUT,
            sock=_proxy(host),
            transport_factory=_transport,
        )
    except paramiko.BadHostKeyException as error:
        raise changed_key(error, host.name, host.port) from error
    except paramiko.AuthenticationException as error:
        if _was_cut(client):
            reason = "the connection was cut while logging in"
            raise _not_connected(ConnectionLost, host, reason) from error
        raise _refused(host, error, _farewell(client)) from error
    except NoValidConnectionsError as error:
        reasons = {os.strerror(getattr(reason, "errno", 0)) for reason in error.errors.values()}
        raise _not_connected(Unreachable, host, ", ".join(sorted(reasons))) from error
    except (socket.gaierror, TimeoutError) as error:
        raise _not_connected(Unreachable, host, error.strerror or str(error)) from error
    except (OSError, EOFError, paramiko.SSHException) as error:
        transport = client.get_transport()
        farewell = _farewell(client)
        if farewell or (transport and transport.is_active()):  # the keys are what is wrong
            raise _refused(host, error, farewell) from error
        reason = str(error) or type(error).__name__
        raise _not_connected(ConnectionLost, host, reason) from error


class _Transport(paramiko.Transport):
    """Remembers why the server hung up, which paramiko only logs.

    :ivar farewell: what it said, as "Too many authentication failures"; nothing if it was cut
    """

    farewell = ""

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        message.get_int()
        self.farewell = message.get_text()


def _farewell(client: paramiko.SSHClient) -> str:
    """What the server said when it hung up on a user who logged in."""
    transport = client.get_transport()
    if isinstance(transport, _Transport) and transport.auth_handler is not None:
        return transport.farewell
    return ""


def _was_cut(client: paramiko.SSHClient) -> bool:
    transport = client.get_transport()
    return transport is not None and not transport.is_active() and not _farewell(client)


def _transport(sock: Any, **arguments: Any) -> paramiko.Transport:
    """Return a transport that prefers GCM: a third faster here than CTR with its extra MAC."""
    transport = _Transport(sock, default_window_size=_WINDOW, **arguments)
    transport.set_keepalive(_KEEPALIVE)
    if isinstance(sock, socket.socket):  # else every small request waits 40 ms for an earlier ACK
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    options = transport.get_security_options()
    fast = [cipher for cipher in options.ciphers if "gcm" in cipher]
    options.ciphers = [*fast, *(cipher for cipher in options.ciphers if cipher not in fast)]
    return transport


def _proxy(host: Host) -> Any:
    """Return what stands in for a socket where the configuration names a proxy."""
    command = host.settings.get("proxycommand")
    jump = host.settings.get("proxyjump", "none")
    if not command and jump != "none":
        command = f"ssh -W [{host.name}]:{host.port} {jump}"
    return paramiko.ProxyCommand(command) if command else None


def _refused(host: Host, error: Exception, farewell: str = "") -> StorageError:
    files = _files_tried(host)
    agent = "the SSH agent" if os.environ.get("SSH_AUTH_SOCK") else "no SSH agent"
    reason = farewell or str(error).rstrip(".")  # of the last key that was tried
    hint = (
        "Put the public key into the storage user's authorized_keys, "
        "or name the right key in ~/.ssh/config"
    )
    if useless := locked(files):
        reason = f"{useless[0]} is encrypted, and no SSH agent holds it"
        hint = (
            f"Run `ssh-add {useless[0]}` where SSH_AUTH_SOCK is set, "
            "or use a key without passphrase"
        )
    return StorageError(
        f"Authentication failed for user {host.user} at {host.address} "
        f"with {', '.join(files) or 'no key files'} and {agent}: {reason}",
        hint=hint,
    )


def _files_tried(host: Host) -> list[str]:
    found = sorted(Path("~/.ssh").expanduser().glob("id_*"))
    return list(host.identities) or [str(path) for path in found if path.suffix != ".pub"]


def _not_connected(kind: type[ConnectionLost], host: Host, reason: str) -> ConnectionLost:
    return kind(
        f"Cannot connect to {host.address}: {reason}",
        hint="Check the name, the network and that sshd runs there",
    )
