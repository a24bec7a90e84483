"""The way out of isolated networks: a network of libvirt's own, with NAT, for the namespace alone.

Letting libvirt do it means forwarding, firewalld, nftables or iptables, and the host's own resolver
just as they are for any NAT network of this host. The network is transient: libvirt has no file of
it, and once stopped it is forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from ipaddress import IPv4Interface, IPv4Network, ip_network
from itertools import islice
from typing import Any

import libvirt
from lxml import etree

from ..connection import found, one_line, open_connection
from ..errors import HypervisorError
from ..hypervisor import asking
from ..snapshot.domain_xml import parse
from . import host
from .attachment import IPNetwork
from .place import Place

_SUBNETS = IPv4Network("198.18.0.0/15")
"""For tests of network devices (RFC 2544): neither in the Internet nor in anybody's office."""

_PREFIX = 30
_ATTEMPTS = 5


def bring_up(
    place: Place, connection: Any, *, uri: str, avoid: Collection[IPNetwork]
) -> IPv4Interface:
    """Start the network, unless it is there; returns the host's address on it.

    :param uri: of ``connection``; kept, for :func:`take_down`
    :param avoid: subnets that are used inside
    :raises HypervisorError: libvirt refuses
    """
    (place.directory / "uplink").write_text(uri)
    with asking(f"looking up network {place.namespace}"):
        present = _find(connection, place)
        if present is not None:
            return _address(present.XMLDesc())
    return _create(place, connection, avoid)


def take_down(place: Place) -> None:
    """Stop the network, if there was one.

    :raises HypervisorError: libvirt does not answer
    """
    noted = place.directory / "uplink"
    if not noted.exists():
        return
    with (
        open_connection(noted.read_text()) as connection,
        asking(f"stopping network {place.namespace}"),
    ):
        network = _find(connection, place)
        if network is not None:
            network.destroy()
    noted.unlink()


def other_end(address: IPv4Interface) -> IPv4Interface:
    """The namespace's address, beside that of the host."""
    return IPv4Interface(f"{address.ip + 1}/{address.network.prefixlen}")


def _find(connection: Any, place: Place) -> Any:
    lookup = connection.networkLookupByName
    return found(lookup, place.namespace, libvirt.VIR_ERR_NO_NETWORK)


def _create(place: Place, connection: Any, avoid: Collection[IPNetwork]) -> IPv4Interface:
    """libvirt refuses a subnet that the host has by now, as another env-shell may have seen to."""
    reason = f"no subnet of {_SUBNETS} is free"
    for subnet in islice(_free_subnets(avoid), _ATTEMPTS):
        try:
            return _address(connection.networkCreateXML(_xml(place, subnet)).XMLDesc())
        except libvirt.libvirtError as error:
            reason = one_line(error)
    raise HypervisorError(f"libvirt does not start a network that leads out: {reason}")


def _free_subnets(avoid: Collection[IPNetwork]) -> Iterator[IPv4Network]:
    """Those that neither the host nor the environment knows, from anywhere in the range."""
    used = [*avoid, *_routes()]
    subnets = list(_SUBNETS.subnets(new_prefix=_PREFIX))
    start = random.randrange(len(subnets))
    for subnet in subnets[start:] + subnets[:start]:
        if not any(subnet.version == net.version and subnet.overlaps(net) for net in used):
            yield subnet


def _routes() -> Iterator[IPNetwork]:
    for route in host.ip("-4", "route", "show", "table", "all"):
        if route["dst"] != "default":
            yield ip_network(route["dst"], strict=False)


def _xml(place: Place, subnet: IPv4Network) -> str:
    root = etree.Element("network")
    etree.SubElement(root, "name").text = place.namespace
    etree.SubElement(root, "forward", mode="nat")
    etree.SubElement(root, "bridge", name=place.uplink, stp="off", delay="0")
    etree.SubElement(root, "ip", address=str(subnet[1]), prefix=str(_PREFIX))
    return etree.tostring(root, encoding="unicode")


def _address(xml: str) -> IPv4Interface:
    root = parse(xml)
    address = root.find("ip")
    assert address is not None, "it was made with one"
    return IPv4Interface(f"{address.get('address')}/{address.get('prefix')}")
