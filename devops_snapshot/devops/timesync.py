"""Set the clocks of guests: after a revert they are as old as the snapshot.

A guest agent is asked first, which needs no network; otherwise it goes over SSH.
"""

from __future__ import annotations

import io
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import paramiko
from django.conf import settings

from ..errors import DevopsError, HypervisorError
from ..signals import about_to_connect
from .libvirt.guest_agent import read_clock, set_clock
from .libvirt.node import LibvirtNode
from .models import Environment, Node

CONNECT_TIMEOUT = 10.0  # seconds
COMMAND_TIMEOUT = 60.0
MOST_OUTPUT = 1 << 20  # bytes that are read of what a guest says
ADMIN_KEYS = ("/root/.ssh/id_rsa", "/root/.ssh/bootstrap.rsa")
"""Private keys on the admin node with which slaves let it, and so us, in."""

# What keeps the time in the guest has to start again: it would take the step for an error.
SET_CLOCK = """
date -u -s @{seconds} >/dev/null || exit 1
hwclock -w 2>/dev/null
if command -v crm_resource >/dev/null && crm_resource --resource p_ntp --locate >/dev/null 2>&1
then crm resource restart p_ntp
elif command -v systemctl >/dev/null
then systemctl try-restart ntpd ntp ntpsec chronyd chrony systemd-timesyncd
else for script in /etc/init.d/ntp*; do [ -x "$script" ] && "$script" restart; done
fi >/dev/null 2>&1
exit 0
"""


@dataclass(frozen=True)
class ClockResult:
    """What ``date`` said on a node before and after, or why its clock was not set."""

    node_name: str
    before: str = ""
    after: str = ""
    error: str = ""


_Way = Callable[[tuple[str, int], float], socket.socket] | None
"""As ``socket.create_connection``; None: by this host's network."""


@dataclass(frozen=True)
class _Guest:
    """Where and as whom a node is reached; ``addresses`` are tried in turn."""

    name: str
    addresses: tuple[str, ...]
    port: int
    login: str
    password: str
    keys: tuple[paramiko.PKey, ...] = field(default=(), repr=False)
    way: _Way = None


@dataclass(frozen=True)
class _Admin:
    """What the admin node knows of the others."""

    keys: tuple[paramiko.PKey, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)
    """By MAC address, in small letters."""


def sync_time(
    environment: Environment,
    node_names: Iterable[str] | None = None,
    skip: Collection[str] = (),
) -> list[ClockResult]:
    """Set the clocks of these nodes (by default all that run) to this host's.

    Nothing is raised for a guest that cannot be reached: its result says why.
    """
    if node_names is None:
        nodes = environment.get_active_nodes()
    else:
        nodes = [environment.get_node(name=name) for name in node_names]
    nodes = [node for node in nodes if node.name not in skip]
    by_agent = {node.name: result for node in nodes if (result := _ask_agent(node))}
    nodes = [node for node in nodes if node.name not in by_agent]
    return sorted(
        [*by_agent.values(), *_over_ssh(environment, nodes)], key=lambda result: result.node_name
    )


def _ask_agent(node: Node) -> ClockResult | None:
    """Set the clock without a network; None where no agent answers."""
    if not isinstance(node, LibvirtNode):
        return None
    domain = node.domain
    try:
        before = read_clock(domain)
        if before is None:
            return None
        return ClockResult(node.name, before=_date(before), after=_date(set_clock(domain)))
    except HypervisorError as error:
        return ClockResult(node.name, error=error.message)


def _date(seconds: float) -> str:
    """As ``date`` would tell it."""
    return time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(seconds))


def _over_ssh(environment: Environment, nodes: Sequence[Node]) -> list[ClockResult]:
    if not nodes:
        return []
    try:
        with _way_to(environment) as way:
            return _sync_guests(environment, nodes, way)
    except DevopsError as error:
        return [ClockResult(node.name, error=str(error)) for node in nodes]


@contextmanager
def _way_to(environment: Environment) -> Iterator[_Way]:
    """Where networks are isolated, another environment's guests may answer at their addresses."""
    answers = about_to_connect.send(sender=Environment, environment=environment)
    known: Iterator[Any] = (way for _, way in answers if way is not None)
    with next(known, nullcontext()) as way:
        yield way


def _sync_guests(environment: Environment, nodes: Sequence[Node], way: _Way) -> list[ClockResult]:
    """The admin node comes first, since the others may take the time from it."""
    admin = _ask_admin(environment, way)
    guests = [_guest(node, admin, way) for node in nodes]
    first = [guest for guest, node in zip(guests, nodes, strict=True) if node.is_admin]
    others = [guest for guest in guests if guest not in first]
    with ThreadPoolExecutor(max_workers=16) as threads:
        return [*threads.map(_sync_guest, first), *threads.map(_sync_guest, others)]


def _guest(node: Node, admin: _Admin, way: _Way) -> _Guest:
    credentials = settings.SSH_CREDENTIALS if node.is_admin else settings.SSH_SLAVE_CREDENTIALS
    macs = [interface.mac_address.lower() for interface in node.interfaces]
    addresses = [admin.addresses[mac] for mac in macs if mac in admin.addresses]
    for interface in node.interfaces:
        addresses += [address.ip_address for address in interface.addresses]
    return _Guest(
        name=node.name,
        addresses=tuple(dict.fromkeys(addresses)),
        port=node.ssh_port,
        login=credentials["login"],
        password=credentials["password"],
        keys=admin.keys,
        way=way,
    )


def _ask_admin(environment: Environment, way: _Way) -> _Admin:
    """Keys and addresses of the slaves, which got theirs from the admin node, not from us."""
    admin = next((node for node in environment.get_nodes() if node.is_admin), None)
    if admin is None or not admin.is_active():
        return _Admin()
    try:
        with _connect(_guest(admin, _Admin(), way)) as client:
            texts = [_run(client, f"cat {path} 2>/dev/null || true") for path in ADMIN_KEYS]
            neighbours = _run(client, "ip neigh 2>/dev/null || true")
    except (OSError, paramiko.SSHException):
        return _Admin()  # why, its own result will tell
    return _Admin(keys=tuple(_keys(texts)), addresses=_neighbours(neighbours))


def _keys(texts: Iterable[str]) -> Iterator[paramiko.PKey]:
    for text in texts:
        if text:
            try:
                yield paramiko.RSAKey.from_private_key(io.StringIO(text))
            except paramiko.SSHException:
                logging.getLogger(__name__).warning("The admin node has a key that is no RSA key")


def _neighbours(text: str) -> dict[str, str]:
    """``ADDRESS dev DEVICE lladdr MAC STATE`` a line, as iproute2 prints it."""
    rows = [line.split() for line in text.splitlines()]
    known = [(row[0], row[row.index("lladdr") + 1 :]) for row in rows if "lladdr" in row]
    return {mac[0].lower(): address for address, mac in known if mac and _is_address(address)}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _sync_guest(guest: _Guest) -> ClockResult:
    try:
        with _connect(guest) as client:
            before = _run(client, "date")
            time.sleep(-time.time() % 1)  # to the next full second: finer, not every `date` takes
            _run(client, SET_CLOCK.format(seconds=round(time.time())))
            return ClockResult(guest.name, before=before, after=_run(client, "date"))
    except (OSError, paramiko.SSHException) as error:
        return ClockResult(guest.name, error=str(error) or type(error).__name__)


@contextmanager
def _connect(guest: _Guest) -> Iterator[paramiko.SSHClient]:
    """The first of the guest's addresses that lets us in; raises the last one's error."""
    error: OSError | paramiko.SSHException = OSError("no address is known")
    for address in guest.addresses:
        client = paramiko.SSHClient()
        # a test guest has a new key whenever it is deployed, and a well-known password
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        try:
            _log_in(client, guest, address)
        except (OSError, paramiko.SSHException) as reason:
            client.close()
            error = OSError(f"no SSH to {guest.login}@{address}:{guest.port}: {reason}")
            continue
        with closing(client):
            yield client
            return
    raise error


def _log_in(client: paramiko.SSHClient, guest: _Guest, address: str) -> None:
    """By the password, then by each of the keys."""
    secrets: list[dict[str, object]] = [{"password": guest.password}]
    secrets += [{"pkey": key} for key in guest.keys]
    for number, secret in enumerate(secrets, start=1):
        try:
            client.connect(
                address,
                port=guest.port,
                username=guest.login,
                sock=guest.way and guest.way((address, guest.port), CONNECT_TIMEOUT),
                timeout=CONNECT_TIMEOUT,
                banner_timeout=CONNECT_TIMEOUT,
                auth_timeout=CONNECT_TIMEOUT,
                allow_agent=False,
                look_for_keys=False,
                **secret,  # type: ignore[arg-type]  # password or pkey
            )
        except paramiko.AuthenticationException:
            if number == len(secrets):
                raise
        else:
            return


def _run(client: paramiko.SSHClient, command: str) -> str:
    """What the command says, as far as anybody would read it; raises OSError if it fails."""
    _, stdout, stderr = client.exec_command(command, timeout=COMMAND_TIMEOUT)
    try:
        said = [stream.read(MOST_OUTPUT) for stream in (stdout, stderr)]
    except TimeoutError:  # it goes on and on, or says nothing at all
        raise OSError(f"the guest does not end: {command.strip()}") from None
    if not stdout.channel.status_event.wait(COMMAND_TIMEOUT):
        raise OSError(f"the guest does not end: {command.strip()}")
    output, complaint = (text.decode(errors="replace") for text in said)
    if stdout.channel.recv_exit_status():
        raise OSError(f"setting the clock failed: {complaint.strip() or command.strip()}")
    return output.strip()
