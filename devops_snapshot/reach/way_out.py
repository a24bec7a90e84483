"""From the namespace to the world: by a network that leads there, or in its place."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from ..errors import DevopsError
from . import cables, dnsmasq, uplink
from .attachment import UPLINK, Attachment, IPAddress
from .forwarding import forward
from .namespace import Namespace
from .place import Place

LOG = logging.getLogger(__name__)

_LOCALHOST = IPv4Address("127.0.0.1")
_HOST_FORWARDS = Path("/proc/sys/net/ipv4/ip_forward")


@dataclass(frozen=True)
class WayOut:
    """:param device: the one that leads out; empty: none does
    :param resolvers: who knows names, of the environment's nodes at least
    """

    device: str
    resolvers: tuple[IPAddress, ...]


def lead_out(namespace: Namespace, place: Place, found: Sequence[Attachment]) -> WayOut:
    """Routes, forwarding, DHCP and DNS, as far as the environment's networks had them."""
    outside = _uplink(namespace, place, found)
    forward(namespace, found, uplink=outside is not None)
    serves = dnsmasq.serve(namespace, place, found, resolver=outside)
    hosts = [each for each in found if not each.isolated and each.gateway is not None]
    for each in hosts:
        if each.nat and each.gateway is not None:
            return _way(namespace, each.device, each.gateway.ip, (each.gateway.ip,))
    if outside is not None:
        return _way(namespace, UPLINK, outside, (_LOCALHOST if serves else outside,))
    known = tuple(each.gateway.ip for each in hosts if each.gateway is not None)
    return WayOut("", (_LOCALHOST,) if serves else known)


def _way(
    namespace: Namespace, device: str, gateway: IPAddress, resolvers: tuple[IPAddress, ...]
) -> WayOut:
    version = f"-{gateway.version}"
    namespace.ip(version, "route", "replace", "default", "via", str(gateway), "dev", device)
    if gateway.version == 4 and _HOST_FORWARDS.read_text().strip() == "0":
        LOG.warning("this host does not forward: 'sysctl net.ipv4.ip_forward=1' lets guests out")
    return WayOut(device, resolvers)


def _uplink(namespace: Namespace, place: Place, found: Sequence[Attachment]) -> IPv4Address | None:
    """The host's address on a network of our own, where isolated networks need one."""
    leading = next((each for each in found if each.isolated and each.nat), None)
    if leading is None:
        return None
    driver = leading.row.driver
    subnets = [each.subnet for each in found if each.subnet is not None]
    try:
        address = uplink.bring_up(place, driver.conn, uri=driver.connection_string, avoid=subnets)
    except DevopsError as error:
        LOG.warning("env-shell has no way out: %s", error)
        return None
    port = place.port("out")
    cables.lay(namespace, port, place.uplink, UPLINK, mac=None, alias="env-shell: way out")
    namespace.ip("address", "replace", str(uplink.other_end(address)), "dev", UPLINK)
    return address.ip
