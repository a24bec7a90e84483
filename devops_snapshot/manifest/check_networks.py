"""Whether the networks of a manifest, their VLANs, parents and filters, are what they may be."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from itertools import chain

from ..errors import FormatError, UnsupportedError
from ..snapshot.domain_xml import parse
from . import document
from .addresses import is_address, is_for_hosts, is_subnet
from .nwfilters import interface_filter_name, network_filter_name

FORWARD_MODES = (None, "nat", "route", "bridge")
LONGEST = 255
"""Characters of a name in the database, and bytes of a file name."""

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAC = re.compile(r"([0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)  # see importer/reshape
_DEVICE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,14}")  # a network device of the host
_HOST_NAME = re.compile(r"[^\s,/#\"'\\\x00-\x20\x7f]{1,255}")  # one word of dnsmasq's files
_VLANS = range(1, 4095)
_DELAYS = range(121)  # seconds before a bridge forwards


def check_networks(environment: document.Environment) -> frozenset[str]:
    """Refuse networks that cannot be; returns their names in libvirt."""
    networks = [l2.network for l2 in environment.networks if l2.network is not None]
    for network in networks:
        _check_network(network)
    names = {l2.name for l2 in environment.networks}
    for l2 in environment.networks:
        _check_parent(l2, names)
    once("network", (network.name for network in networks))
    once("network UUID", (network.uuid for network in networks))
    return frozenset(network.name for network in networks)


def _check_network(network: document.Network) -> None:
    where = f"network {network.name!r}"
    if network.forward_mode not in FORWARD_MODES:
        raise UnsupportedError(
            f"{where} has forward mode {network.forward_mode!r}, which cannot be imported yet"
        )
    if not UUID.fullmatch(network.uuid):
        raise FormatError(f"{where} has the UUID {network.uuid!r}")
    if network.mac is not None:
        _check_mac(where, network.mac)
    takes_one = network.forward_mode == "bridge" or network.bridge is not None
    if takes_one and not _DEVICE.fullmatch(network.bridge or ""):
        raise FormatError(f"{where} has the bridge {network.bridge and network.bridge[:LONGEST]!r}")
    if network.delay not in _DELAYS:
        raise FormatError(f"{where} has a delay of {network.delay} seconds")
    if network.ip is not None:
        subnet = f"{network.ip}/{network.prefix}"
        _check_subnet(where, subnet)
        if not is_for_hosts(subnet):
            raise FormatError(f"{where} has the subnet {subnet!r}, which is no environment's")
    ends = filter(None, (network.dhcp_start, network.dhcp_end))
    for address in [*ends, *(host.ip for host in network.dhcp_hosts)]:
        _check_address(where, address)
    for host in network.dhcp_hosts:
        _check_mac(where, host.mac)
        if host.name is not None and not _HOST_NAME.fullmatch(host.name):
            raise FormatError(f"{where} has the DHCP host {host.name[:LONGEST]!r}")
    parse(network.xml)


def _check_parent(l2: document.L2NetworkDevice, names: Collection[str]) -> None:
    """VLANs and devices of the host: what is in these rows goes into commands.

    :param names: of all networks' rows
    """
    where = f"network {l2.name!r}"
    vlans, parent = l2.params.get("vlan_ifaces") or [], l2.params.get("parent_iface") or {}
    if not isinstance(vlans, list) or not isinstance(parent, dict):
        raise FormatError(f"{where} has vlan_ifaces or a parent_iface of a strange kind")
    tag, device, other = (parent.get(key) for key in ("tag", "phys_dev", "l2_net_dev"))
    for vlan in (*vlans, *([] if tag is None else [tag])):
        if type(vlan) is not int or vlan not in _VLANS:
            raise FormatError(f"{where} has the VLAN {vlan!r}")
    if device is not None and not (isinstance(device, str) and _DEVICE.fullmatch(device)):
        raise FormatError(f"{where} has the parent_iface {device!r}")
    if other is not None and not (isinstance(other, str) and other in names):
        raise FormatError(f"{where} has the parent_iface {other!r}, which is not in the export")


def check_nwfilters(environment: document.Environment) -> frozenset[str]:
    """Refuse filters that are not called after their network or card; returns their names."""
    filters: dict[str, document.NwFilter] = {}
    names = {l2.id: network_filter_name(environment.name, l2.name) for l2 in environment.networks}
    for l2 in environment.networks:
        if l2.nwfilter is not None:
            _check_nwfilter(l2.nwfilter, name=names[l2.id], includes=None)
            filters[l2.nwfilter.name] = l2.nwfilter
    for interface in chain.from_iterable(node.interfaces for node in environment.nodes):
        if interface.nwfilter is not None:
            includes = names.get(interface.l2_network_device or 0, "")
            name = interface_filter_name(includes, interface.mac_address)
            _check_nwfilter(interface.nwfilter, name=name, includes=includes)
            if includes not in filters:
                raise FormatError(f"network filter {name!r} includes one that is not there")
            filters[name] = interface.nwfilter
    return frozenset(filters)


def _check_nwfilter(nwfilter: document.NwFilter, *, name: str, includes: str | None) -> None:
    """Its name and ``.xml`` is that of a file of libvirt's, too."""
    is_it = (nwfilter.name, nwfilter.includes) == (name, includes)
    if not is_it or len(f"{name}.xml".encode()) > LONGEST:
        raise FormatError(f"the manifest has {nwfilter.name!r} as the name of a network filter")


def check_addresses(environment: document.Environment) -> None:
    """Refuse subnets and addresses that are none."""
    for pool in environment.address_pools:
        _check_subnet(f"address pool {pool.name!r}", pool.net)
    for node in environment.nodes:
        for interface in node.interfaces:
            _check_mac(f"node {node.name!r}", interface.mac_address)
            for address in interface.addresses:
                _check_address(f"node {node.name!r}", address)


def _check_mac(where: str, mac: str) -> None:
    if not _MAC.fullmatch(mac):
        raise FormatError(f"{where} has the MAC address {mac!r}")


def _check_subnet(where: str, subnet: str) -> None:
    if len(subnet) > LONGEST or not is_subnet(subnet):
        raise FormatError(f"{where} has the subnet {subnet[:LONGEST]!r}")


def _check_address(where: str, address: str) -> None:
    if not is_address(address):
        raise FormatError(f"{where} has the address {address[:LONGEST]!r}")


def once(kind: str, names: Iterable[str]) -> None:
    """Refuse a name that is there twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise FormatError(f"the manifest has the {kind} {name!r} twice")
        seen.add(name)
