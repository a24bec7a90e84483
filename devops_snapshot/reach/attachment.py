"""The networks of an environment, as an env-shell is attached to them.

What a network is comes from libvirt; what an isolated one was comes from this project's records,
that is, from a manifest, which is not trusted: nothing gets through here but addresses and names.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
)
from shlex import quote
from typing import Any

from ..errors import DevopsError
from ..manifest import document
from ..manifest.reading import original_network, read_network
from ..models import IsolatedNetwork
from . import host

LOG = logging.getLogger(__name__)

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
UPLINK = "uplink"
"""The device inside that leads out of isolated networks."""

_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", re.IGNORECASE)
_LONGEST_DEVICE = 15  # characters, as the kernel takes them
_BRIDGE = "bridge"
"""Forward mode of networks that are a bridge of the host; isolated, the host stands in for it."""


@dataclass(frozen=True)
class Dhcp:
    """What libvirt's dnsmasq handed out: a range, and addresses for network cards with names."""

    start: IPAddress
    end: IPAddress
    hosts: tuple[tuple[str, IPAddress, str], ...]


@dataclass(frozen=True)
class Attachment:
    """One network.

    :param number: among the environment's networks, also those that are not attached
    :param device: inside the namespace
    :param bridge: on the host
    :param gateway: the host's address on it, where isolated the one that the guests know
    :param mac: of the gateway, likewise
    :param nat: guests get out by it
    :param routed: guests of other networks get to it, and its guests to theirs
    :param pool: the row of its address pool
    """

    number: int
    row: Any
    network: str
    device: str
    bridge: str
    isolated: bool
    gateway: IPInterface | None
    mac: str | None
    nat: bool
    routed: bool
    dhcp: Dhcp | None
    pool: Any

    @property
    def subnet(self) -> IPNetwork | None:
        return None if self.gateway is None else self.gateway.network


def attachments(environment: Any) -> list[Attachment]:
    """Those that are up; what is passed over is told.

    :raises DevopsError: there is none, or libvirt is on another host
    """
    found: list[Attachment] = []
    bridges = _bridges()
    for number, row in enumerate(environment.get_env_l2_network_devices()):
        network = read_network(row)
        if network is None or not network.active:
            LOG.warning("network %r is down: env-shell is not attached to it", row.name)
        elif network.forward_mode == _BRIDGE:
            LOG.warning(
                "network %r is %s, a bridge of the host: env-shell is not attached to it",
                row.name,
                network.bridge,
            )
        else:
            _check_bridge(row, network, bridges)
            found.append(_attachment(number, row, network, {each.device for each in found}))
    if not found:
        raise DevopsError(
            f"no network of environment {environment.name!r} is up",
            hint=f"'dos.py start {quote(environment.name)}' brings them up",
        )
    return found


def _attachment(number: int, row: Any, network: document.Network, taken: set[str]) -> Attachment:
    original = original_network(row) or network
    isolated = IsolatedNetwork.of(row) is not None
    mac = original.mac if isolated and _MAC.fullmatch(original.mac or "") else None
    return Attachment(
        number=number,
        row=row,
        network=row.name,
        device=device_name(row.name, number, taken),
        bridge=network.bridge or "",
        isolated=isolated,
        gateway=_gateway(original, row.address_pool),
        mac=mac,
        nat=original.forward_mode in ("nat", _BRIDGE),
        routed=original.forward_mode == "route",
        dhcp=_dhcp(original),
        pool=row.address_pool,
    )


def device_name(name: str, number: int, taken: Collection[str]) -> str:
    """What the network is called, as far as a device can be called so."""
    device = re.sub(r"[^A-Za-z0-9_.-]", "-", name).strip("-.")[:_LONGEST_DEVICE]
    if device and device not in {"lo", UPLINK, *taken}:
        return device
    return f"{device[:9] or 'net'}-{number}"


def _gateway(network: document.Network, pool: Any) -> IPInterface | None:
    """The host's address; of a bridge that the host had no address on, that of the pool."""
    if network.ip and network.prefix is not None:
        return ip_interface(f"{network.ip}/{network.prefix}")
    if network.forward_mode == _BRIDGE and pool is not None:
        subnet = ip_interface(pool.net).network
        gateway = (pool.params.get("ip_reserved") or {}).get("gateway") or subnet[1]
        return ip_interface(f"{gateway}/{subnet.prefixlen}")
    return None


def _dhcp(network: document.Network) -> Dhcp | None:
    if not (network.dhcp_start and network.dhcp_end):
        return None
    return Dhcp(
        ip_address(network.dhcp_start),
        ip_address(network.dhcp_end),
        tuple(_dhcp_hosts(network)),
    )


def _dhcp_hosts(network: document.Network) -> Iterator[tuple[str, IPAddress, str]]:
    for entry in network.dhcp_hosts:
        if _MAC.fullmatch(entry.mac):
            name = entry.name if _HOST_NAME.fullmatch(entry.name or "") else None
            yield entry.mac, ip_address(entry.ip), name or ""


def _bridges() -> dict[str, str]:
    """MAC addresses of the host's bridges, by name."""
    return {link["ifname"]: link["address"] for link in host.ip("link", "show", "type", "bridge")}


def _check_bridge(row: Any, network: document.Network, bridges: dict[str, str]) -> None:
    """Another host's libvirt may well have a bridge of the same name.

    :raises DevopsError: it is not on this host
    """
    mac = bridges.get(network.bridge or "")
    if mac is None or (network.mac is not None and mac != network.mac.lower()):
        raise DevopsError(
            f"the bridge {network.bridge} of network {row.name!r} is not on this host",
            hint=f"Use env-shell where libvirt is: {row.driver.connection_string}",
        )
