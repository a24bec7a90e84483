"""Files of ``/etc`` as they are seen inside: resolver, names of nodes, SSH."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any

from .attachment import Attachment, IPAddress, IPNetwork
from .place import Place

_RESOLV, _NSSWITCH, _HOSTS, _SSH = (
    Path("/etc/resolv.conf"),
    Path("/etc/nsswitch.conf"),
    Path("/etc/hosts"),
    Path("/etc/ssh/ssh_config"),
)
_NSCD = Path("/run/nscd/socket")
_NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
"""A name without a domain: it cannot be one of the Internet."""

_OTHER_RESOLVERS = re.compile(r"\bresolve\b(\s*\[[^]]*\])?")
"""In nsswitch.conf: systemd-resolved, which answers on a socket that is seen inside as well."""

_SSH_RULES = """\
# Every environment has other hosts at these addresses, with other keys.
Host {patterns}
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    GlobalKnownHostsFile /dev/null
    LogLevel ERROR
"""
_PRIVATE = [
    IPv4Network(net)
    for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15")
]
"""Subnets of which everybody has one of his own."""

_SSH_PATTERNS = 50  # in a line, of which older releases read 1024 characters


def write_files(
    place: Place,
    environment: Any,
    attachments: Sequence[Attachment],
    *,
    resolvers: Sequence[IPAddress],
) -> dict[Path, Path]:
    """Write those that are other ones inside; returns what is to be seen where.

    A file that the host has not is not seen inside either.
    """
    subnets = [each.subnet for each in attachments if each.subnet is not None]
    nodes = dict(_nodes(environment, subnets, taken=set(_text(_HOSTS).split())))
    contents = {
        _RESOLV: _resolv(resolvers),
        _NSSWITCH: _OTHER_RESOLVERS.sub("", _text(_NSSWITCH)),
        _HOSTS: "".join(f"{ip} {name}\n" for name, ip in nodes.items()) + _text(_HOSTS),
        _SSH: _ssh(subnets, list(nodes)),
    }
    seen = {}
    for path, content in contents.items():
        if path.exists():
            seen[path] = place.directory / path.name
            seen[path].write_text(content)
    if _NSCD.exists():
        seen[_NSCD] = Path("/dev/null")
    return seen


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _resolv(resolvers: Sequence[IPAddress]) -> str:
    """The host's own, but for who is asked."""
    kept = [line for line in _text(_RESOLV).splitlines() if not line.startswith("nameserver")]
    return "\n".join([*kept, *(f"nameserver {address}" for address in resolvers)]) + "\n"


def _nodes(
    environment: Any, subnets: Sequence[IPNetwork], *, taken: Collection[str]
) -> Iterator[tuple[str, IPAddress]]:
    """Each node's first address on a network that is attached.

    :param taken: names that mean another host already
    """
    for node in environment.get_nodes():
        interfaces = node.interface_set.order_by("id")
        rows = (row for interface in interfaces for row in interface.address_set.order_by("id"))
        addresses = (ip_address(row.ip_address) for row in rows)
        reached = (address for address in addresses if any(address in net for net in subnets))
        address = next(reached, None)
        if address is not None and _NODE.fullmatch(node.name) and node.name not in taken:
            yield node.name, address


def _ssh(subnets: Sequence[IPNetwork], names: Sequence[str]) -> str:
    patterns = [*names, *(pattern for subnet in subnets for pattern in ssh_patterns(subnet))]
    rules = [
        _SSH_RULES.format(patterns=" ".join(patterns[start : start + _SSH_PATTERNS]))
        for start in range(0, len(patterns), _SSH_PATTERNS)
    ]
    return "".join([*rules, "Host *\n", _text(_SSH)])


def ssh_patterns(subnet: IPNetwork) -> list[str]:
    """The addresses of a subnet as ``Host`` patterns; none where keys are checked as always.

    That is for IPv6, and for subnets of the Internet that an environment claims to have.
    """
    if isinstance(subnet, IPv6Network) or not any(subnet.subnet_of(net) for net in _PRIVATE):
        return []
    octets = -(-subnet.prefixlen // 8)
    rest = ".*" if octets < 4 else ""
    parts = subnet.subnets(new_prefix=8 * octets)
    return [".".join(str(part[0]).split(".")[:octets]) + rest for part in parts]
