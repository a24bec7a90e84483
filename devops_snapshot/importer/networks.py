"""Networks of an export, built anew from their values; nothing of the exported XML is used.

The bridge keeps its MAC address: guests that come back from memory have it in their ARP caches.
Its name is libvirt's choice, since bridge names are the host's own.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import libvirt
from lxml import etree

from ..errors import UnsupportedError
from ..hypervisor import asking
from ..manifest import document
from .plan import Plan, network_uuid_is_free

_FORWARD_MODES = (None, "nat", "route")


def define_networks(plan: Plan, undo: ExitStack) -> dict[int, str]:
    """Define and start them; returns the UUID of each, by the exported device's id.

    :raises UnsupportedError: a forward mode that is not there yet
    """
    uuids = {}
    for l2 in plan.manifest.environment.networks:
        if l2.network is None:
            continue
        free = network_uuid_is_free(plan.target, l2.network.uuid)
        xml = build_network(l2.network, keep_uuid=free)
        with asking(f"defining network {l2.network.name}"):
            network = plan.target.conn.networkDefineXML(xml)
        undo.callback(_remove, network)
        with asking(f"starting network {l2.network.name}"):
            network.setAutostart(True)
            network.create()
        uuids[l2.id] = network.UUIDString()
    return uuids


def build_network(network: document.Network, *, keep_uuid: bool) -> str:
    """libvirt's XML of a network."""
    if network.forward_mode not in _FORWARD_MODES:
        raise UnsupportedError(
            f"network {network.name!r} has forward mode {network.forward_mode!r}, "
            "which cannot be imported yet"
        )
    root = etree.Element("network")
    etree.SubElement(root, "name").text = network.name
    if keep_uuid and network.uuid:
        etree.SubElement(root, "uuid").text = network.uuid
    if network.forward_mode:
        etree.SubElement(root, "forward", mode=network.forward_mode)
    stp = "on" if network.stp else "off"
    etree.SubElement(root, "bridge", stp=stp, delay=str(network.delay))
    if network.mac:
        etree.SubElement(root, "mac", address=network.mac)
    if network.ip and network.prefix is not None:
        ip = etree.SubElement(root, "ip", address=network.ip, prefix=str(network.prefix))
        _add_dhcp(ip, network)
    return etree.tostring(root, encoding="unicode")


def _add_dhcp(ip: etree._Element, network: document.Network) -> None:
    if not (network.dhcp_start and network.dhcp_end):
        return
    dhcp = etree.SubElement(ip, "dhcp")
    etree.SubElement(dhcp, "range", start=network.dhcp_start, end=network.dhcp_end)
    for host in network.dhcp_hosts:
        entry = etree.SubElement(dhcp, "host", mac=host.mac, ip=host.ip)
        if host.name:
            entry.set("name", host.name)


def _remove(network: Any) -> None:
    try:
        if network.isActive():
            network.destroy()
        network.undefine()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
            raise
