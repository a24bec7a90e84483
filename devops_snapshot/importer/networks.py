"""Networks of an export, built anew from their values; nothing of the exported XML is used.

The bridge keeps its MAC address: guests that come back from memory have it in their ARP caches.
Its name is libvirt's choice, since bridge names are the host's own. An isolated network is a bridge
and nothing else: no address of the host, no forwarding, no DHCP, no port but the guests'. What it
was is kept, for :mod:`~..reach` to offer it in a namespace and for exports to tell it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lxml import etree

from ..devops.libvirt.host_command import run_on_host
from ..devops.libvirt.host_networks import define_on_own_bridge
from ..errors import HypervisorError
from ..hypervisor import asking
from ..manifest import document
from ..manifest.reading import parse_network
from ..models import IsolatedNetwork
from ..snapshot.undo import Undo
from .plan import Plan

LOG = logging.getLogger(__name__)

_SILENCE = """\
test "$(cat "/sys/class/net/$1/address")" = "$2"
cd "/proc/sys/net/ipv4/conf/$1"
echo 8 > arp_ignore
echo 1 > rp_filter
"""
"""With the bridge's name and MAC address: another host's may have the same name."""

_BRIDGE = "bridge"
"""The forward mode of networks that are bridges of the host."""


def define_networks(plan: Plan, undo: Undo) -> dict[int, str]:
    """Define them, and start those that were up; returns each UUID, by the exported device's id.

    Of isolated ones, the rows are still to be told: :func:`keep_originals`.
    """
    uuids = {}
    for l2 in plan.manifest.environment.networks:
        if l2.network is None:
            continue
        wanted = isolate(l2.network) if plan.choices.isolated else l2.network
        uuids[l2.id] = plan.network_uuids[wanted.name]
        with asking(f"defining network {wanted.name}"):
            network = _define(plan.target.conn, build_network(wanted, uuid=uuids[l2.id]), wanted)
            undo.later(remove_network, network)
        with asking(f"starting network {wanted.name}"):
            network.setAutostart(True)
            if wanted.active:
                network.create()
        if plan.choices.isolated and wanted.active:
            _silence(plan.target.connection_string, wanted.name, network)
    return uuids


def _define(connection: Any, xml: str, network: document.Network) -> Any:
    if network.forward_mode == _BRIDGE:
        return connection.networkDefineXML(xml)
    return define_on_own_bridge(connection, xml)


def isolate(network: document.Network) -> document.Network:
    """The same network without what joins it to the host.

    Its bridge gets another MAC address: the one that guests know as their gateway's is free for
    whoever takes the gateway's place.
    """
    joining = ("bridge", "mac", "forward_mode", "ip", "prefix", "dhcp_start", "dhcp_end")
    return network.model_copy(update={**dict.fromkeys(joining), "dhcp_hosts": ()})


def _silence(uri: str, name: str, network: Any) -> None:
    """Keep the host from hearing and answering guests at addresses that it has elsewhere.

    That takes root, and is done again by env-shell: see :func:`~..reach.cables.silence`.
    """
    described = parse_network(network.XMLDesc(), active=True)
    command = ["sh", "-ec", _SILENCE, "sh", described.bridge or "", described.mac or ""]
    try:
        run_on_host(uri, command, as_root=True)
    except HypervisorError as error:
        LOG.debug("%s", error)
        LOG.warning(
            "until there is an env-shell, this host answers guests of network %r at addresses of "
            "its own; it takes root, or sudo without a password, to prevent that",
            name,
        )


def join_networks(plan: Plan, environment: Any, undo: Undo) -> None:
    """Make the VLANs of networks that are up, and plug them into their parents, as the rows say.

    What this host lacks for that is told in a warning.
    """
    networks = (l2.network for l2 in plan.manifest.environment.networks if l2.network is not None)
    started = {plan.network_uuids[network.name] for network in networks if network.active}
    for row in environment.get_env_l2_network_devices():
        if row.params.get("uuid") in started:
            undo.later(row.destroy)
            row.start()


def keep_originals(plan: Plan, environment: Any, networks: Mapping[int, str]) -> None:
    """Record what isolated networks were, and let their rows say that they are cut off.

    The caller holds the transaction in which the rows were written. Nothing happens if the networks
    are not isolated.

    :param environment: its row
    :param networks: as :func:`define_networks` returned them
    """
    if not plan.choices.isolated:
        return
    rows = {row.params.get("uuid"): row for row in environment.get_env_l2_network_devices()}
    for l2 in plan.manifest.environment.networks:
        if l2.network is None:
            continue
        row = rows[networks[l2.id]]
        cut_off = _cut_off(row.params)
        IsolatedNetwork.objects.create(
            environment_id=environment.id,
            l2_network_device_id=row.id,
            uuid=networks[l2.id],
            network=l2.network.model_dump(mode="json"),
            params={key: row.params[key] for key in cut_off},
        )
        row.params = {**row.params, **cut_off}
        row.save()


def _cut_off(params: Mapping[str, Any]) -> dict[str, Any]:
    """Those of an L2 network device's ``params`` that join it to the host, as they are without."""
    cut_off: dict[str, Any] = {}
    if (params.get("forward") or {}).get("mode"):
        cut_off["forward"] = {**params["forward"], "mode": None}
    if params.get("dhcp"):
        cut_off["dhcp"] = False
    if (params.get("parent_iface") or {}).get("phys_dev"):
        cut_off["parent_iface"] = {**params["parent_iface"], "phys_dev": None, "tag": None}
    return cut_off


def build_network(network: document.Network, *, uuid: str) -> str:
    """libvirt's XML of a network."""
    root = etree.Element("network")
    etree.SubElement(root, "name").text = network.name
    etree.SubElement(root, "uuid").text = uuid
    if network.forward_mode:
        etree.SubElement(root, "forward", mode=network.forward_mode)
    if network.forward_mode == _BRIDGE:
        etree.SubElement(root, "bridge", name=network.bridge or "")
        return etree.tostring(root, encoding="unicode")
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


def remove_network(network: Any) -> None:
    """Whether it is started or not."""
    with asking(f"removing network {network.name()}"):
        if network.isActive():
            network.destroy()
        network.undefine()
