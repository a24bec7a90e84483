"""A network as libvirt's XML."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from .elements import E

BRIDGE = "bridge"
"""The forward mode of networks that are bridges of the host."""


@dataclass(frozen=True)
class DhcpHost:
    """A lease that is promised to one network card."""

    mac: str
    ip: str
    name: str


@dataclass(frozen=True)
class Dhcp:
    """What dnsmasq hands out: the range (first and last address) and the promised leases."""

    start: str
    end: str
    hosts: tuple[DhcpHost, ...] = ()


@dataclass(frozen=True)
class HostAddress:
    """The host's own address on the network, and the services there.

    ``tftp_root`` is a directory of the host; ``boot_file`` is announced to guests that boot from
    the network, and needs ``dhcp``.
    """

    address: str
    prefix: int
    dhcp: Dhcp | None = None
    tftp_root: str | None = None
    boot_file: str | None = None


@dataclass(frozen=True)
class NetworkSpec:
    """A network to be defined; ``forward`` is None (isolated), ``nat``, ``route`` or ``bridge``.

    Without ``bridge`` libvirt picks a free ``virbrN``. With ``forward`` ``bridge`` it names one of
    the host's own, whose addresses and settings libvirt leaves alone.
    """

    name: str
    stp: bool = True
    forward: str | None = None
    host: HostAddress | None = None
    bridge: str | None = None


def network_xml(network: NetworkSpec) -> str:
    """What ``virConnect.networkDefineXML`` takes."""
    bridge = E.bridge(delay="0")
    if network.forward != BRIDGE:
        bridge.set("stp", "on" if network.stp else "off")
    if network.bridge:
        bridge.set("name", network.bridge)
    root = E.network(E.name(network.name), bridge)
    if network.forward:
        root.append(E.forward(mode=network.forward))
    if network.host is not None:
        root.append(_ip(network.host))
    return etree.tostring(root, encoding="unicode")


def _ip(host: HostAddress) -> etree._Element:
    ip = E.ip(address=host.address, prefix=str(host.prefix))
    if host.tftp_root:
        ip.append(E.tftp(root=host.tftp_root))
    if host.dhcp is not None:
        ip.append(_dhcp(host.dhcp, boot_file=host.boot_file))
    return ip


def _dhcp(dhcp: Dhcp, *, boot_file: str | None) -> etree._Element:
    leases = (E.host(mac=host.mac, ip=host.ip, name=host.name) for host in dhcp.hosts)
    element = E.dhcp(E.range(start=dhcp.start, end=dhcp.end), *leases)
    if boot_file:
        element.append(E.bootp(file=boot_file))
    return element
