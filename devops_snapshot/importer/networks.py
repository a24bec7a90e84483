"""Networks of an export, built anew from their values; nothing of the exported XML is used.

The bridge keeps its MAC address: guests that come back from memory have it in their ARP caches.
Its name is libvirt's choice, since bridge names are the host's own.
"""

from __future__ import annotations

from typing import Any

import libvirt
from lxml import etree

from ..hypervisor import asking
from ..manifest import document
from ..snapshot.undo import Undo
from .plan import Plan
from .target import Target


def define_networks(plan: Plan, undo: Undo) -> dict[int, str]:
    """Define and start them; returns the UUID of each, by the exported device's id."""
    uuids = {}
    for l2 in plan.manifest.environment.networks:
        if l2.network is None:
            continue
        with asking(f"looking for network UUID {l2.network.uuid}"):
            free = _uuid_is_free(plan.target, l2.network.uuid)
        xml = build_network(l2.network, keep_uuid=free)
        with asking(f"defining network {l2.network.name}"):
            network = plan.target.conn.networkDefineXML(xml)
            undo.later(_remove, network)
        with asking(f"starting network {l2.network.name}"):
            network.setAutostart(True)
            network.create()
            uuids[l2.id] = network.UUIDString()
    return uuids


def build_network(network: document.Network, *, keep_uuid: bool) -> str:
    """libvirt's XML of a network."""
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


def _uuid_is_free(target: Target, uuid: str) -> bool:
    """Whether no network of the host bears it."""
    try:
        target.conn.networkLookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
            raise
        return True
    return False


def _remove(network: Any) -> None:
    with asking(f"removing network {network.name()}"):
        if network.isActive():
            network.destroy()
        network.undefine()
