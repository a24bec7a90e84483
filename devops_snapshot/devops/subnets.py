"""Which subnets an address pool can have: ``10.109.0.0/16:24`` less what is in use."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from netaddr import AddrFormatError, IPNetwork

from devops_snapshot.errors import DevopsError

CUT = re.compile(r"(.+/\d+):(\d+)")
"""Networks and the prefix of their subnets; networks may be IPv6 ones, with colons of their own."""

ROUTES = Path("/proc/net/route")
ROUTE_UP, ROUTE_GATEWAY = 0x1, 0x2
"""Flags of the kernel's routing table (linux/route.h)."""


@dataclass(frozen=True)
class Route:
    """An IPv4 route of this host other than the default one."""

    net: IPNetwork
    via_gateway: bool


@dataclass(frozen=True)
class PoolSpec:
    """``networks`` cut into subnets of ``prefix`` bits; without ``prefix``, taken as they are."""

    networks: tuple[IPNetwork, ...]
    prefix: int | None

    def subnets(self) -> Iterator[tuple[IPNetwork, IPNetwork]]:
        """Each subnet with the network that it is a part of."""
        for network in self.networks:
            prefix = network.prefixlen if self.prefix is None else self.prefix
            for subnet in network.subnet(prefix):
                yield subnet, network


def parse_pool(net: object) -> PoolSpec:
    """Read ``NETWORK[,NETWORK...]:PREFIX`` or a single ``NETWORK``; raises DevopsError."""
    cut = CUT.fullmatch(str(net))
    names, prefix = cut.groups() if cut else (str(net), None)
    try:
        networks = tuple(IPNetwork(name.strip()).cidr for name in names.split(","))
        bits = int(prefix) if prefix else None
    except (AddrFormatError, ValueError) as error:
        raise DevopsError(
            f"{net!r} is no network", hint="Write it as 10.109.0.0/16:24 or as 10.109.3.0/24"
        ) from error
    for network in networks:
        width = 32 if network.version == 4 else 128
        if bits is not None and not network.prefixlen <= bits <= width:
            raise DevopsError(f"{network} cannot be cut into subnets of /{bits}")
    return PoolSpec(networks, bits)


def free_subnets(
    spec: PoolSpec, *, taken: Iterable[IPNetwork], routes: Iterable[Route]
) -> Iterator[IPNetwork]:
    """The subnets that overlap neither a network in use nor a route.

    A network without ``:PREFIX`` is somebody's deliberate choice, perhaps one that is routed to
    this host: routes do not count there. Nor does a route through a gateway that is wider than the
    network to be cut: it is as good as a default route.
    """
    used = [_bounds(net) for net in taken]
    routes = list(routes) if spec.prefix is not None else []
    for subnet, network in spec.subnets():
        in_the_way = used + [
            _bounds(route.net)
            for route in routes
            if not (route.via_gateway and network in route.net and network != route.net)
        ]
        first, last = _bounds(subnet)
        if not any(first <= end and start <= last for start, end in in_the_way):
            yield subnet


def _bounds(net: IPNetwork) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last address, each with its IP version so that the two never overlap."""
    return (net.version, net.first), (net.version, net.last)


def host_routes(table: Path = ROUTES) -> list[Route]:
    """The routes of this host, less the default route; none where the kernel has no such table."""
    if not table.exists():
        return []
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    return [
        Route(
            net=IPNetwork(f"{_address(destination)}/{_address(mask)}"),
            via_gateway=bool(int(flags, 16) & ROUTE_GATEWAY),
        )
        for _, destination, _, flags, _, _, _, mask, *_ in rows
        if int(flags, 16) & ROUTE_UP and int(mask, 16)
    ]


def _address(field: str) -> str:
    """A column of the table: the address in the byte order of this machine, in hexadecimal."""
    return socket.inet_ntoa(struct.pack("=I", int(field, 16)))
