"""From rows of the ``devops`` app and libvirt's objects to documents."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import libvirt
from lxml import etree

from .. import __version__
from ..account import user_name
from ..errors import FormatError
from ..hypervisor import asking
from ..models import IsolatedNetwork
from ..snapshot.domain_xml import parse, serialise
from ..snapshot.metadata import SnapshotMetadata
from . import document
from .nwfilters import filter_of_interface, filter_of_network, interface_filter_name
from .plugs import name_filters, name_networks, plain_mac
from .spelled import original_mac, original_subnet, without_note


@dataclass(frozen=True)
class _Plugs:
    """What cards are plugged into, as manifests call it.

    :param networks: as :func:`networks_by_mac`
    :param filters: names of filters here to those in the manifest, where they differ
    """

    networks: Mapping[str, str]
    filters: Mapping[str, str]

    @classmethod
    def of(cls, environment: Any) -> _Plugs:
        cards = [card for node in environment.get_nodes() for card in node.interface_set.all()]
        here = {card.id: filter_of_interface(card) for card in cards}
        filters = {
            found.name: _renamed(found, card).name
            for card in cards
            if (found := here[card.id]) is not None
        }
        return cls(networks_by_mac(environment), filters)

    def name_in(self, root: etree._Element) -> None:
        name_networks(root, self.networks)
        name_filters(root, self.filters)


@dataclass(frozen=True)
class NodeParts:
    """What of a node goes into a manifest.

    :param definition: the ``<domain>`` to define again
    :param snapshots: parents before children
    :param disks: id of a disk's row to the volume it stands on in the export (None: an empty
        drive); others are left out
    """

    definition: etree._Element
    snapshots: Sequence[SnapshotMetadata]
    disks: Mapping[int, int | None]


def read_environment(
    environment: Any, *, parts: Mapping[int, NodeParts], volumes: set[int]
) -> document.Environment:
    """The environment's rows, networks and filters.

    :param parts: by id of the node
    :param volumes: ids of the volumes that are exported
    :raises UnsupportedError: a network filter has rules of somebody's own
    """
    plugs = _Plugs.of(environment)
    return document.Environment(
        id=environment.id,
        name=environment.name,
        created=environment.created,
        address_pools=tuple(
            document.AddressPool(
                id=pool.id,
                name=pool.name,
                net=original_subnet(pool.params, pool.net),
                created=pool.created,
                params=without_note(pool.params),
            )
            for pool in environment.get_address_pools()
        ),
        groups=tuple(_group(group, parts, volumes, plugs) for group in environment.get_groups()),
    )


def networks_by_mac(environment: Any) -> dict[str, str]:
    """:func:`plain_mac` to the name in libvirt of the network that the card is in."""
    rows = environment.get_env_l2_network_devices()
    names = {row.id: network.name for row in rows if (network := read_network(row)) is not None}
    cards = [card for node in environment.get_nodes() for card in node.interface_set.all()]
    return {
        plain_mac(card.mac_address): names[card.l2_network_device_id]
        for card in cards
        if card.l2_network_device_id in names
    }


def _group(
    group: Any, parts: Mapping[int, NodeParts], volumes: set[int], plugs: _Plugs
) -> document.Group:
    driver = group.driver
    return document.Group(
        id=group.id,
        name=group.name,
        created=group.created,
        driver=document.Driver(
            id=driver.id, name=driver.name, created=driver.created, params=driver.params
        ),
        l2_network_devices=tuple(_l2_device(l2) for l2 in group.get_l2_network_devices()),
        network_pools=tuple(
            document.NetworkPool(
                id=pool.id, name=pool.name, created=pool.created, address_pool=pool.address_pool_id
            )
            for pool in group.get_network_pools()
        ),
        volumes=_volumes(group.get_volumes(), volumes),
        nodes=tuple(_node(node, parts[node.id], volumes, plugs) for node in group.get_nodes()),
    )


def _volumes(rows: Any, wanted: set[int]) -> tuple[document.Volume, ...]:
    return tuple(
        document.Volume(
            id=row.id,
            name=row.name,
            created=row.created,
            backing_store=row.backing_store_id,
            params=row.params,
        )
        for row in rows.order_by("id")
        if row.id in wanted
    )


def _node(node: Any, parts: NodeParts, volumes: set[int], plugs: _Plugs) -> document.Node:
    plugs.name_in(parts.definition)
    return document.Node(
        id=node.id,
        name=node.name,
        role=node.role,
        created=node.created,
        params=node.params,
        interfaces=tuple(_interface(row) for row in node.interface_set.order_by("id")),
        network_configs=tuple(
            document.NetworkConfig(
                id=row.id,
                label=row.label,
                networks=row.networks,
                aggregation=row.aggregation,
                parents=row.parents,
            )
            for row in node.networkconfig_set.order_by("id")
        ),
        volumes=_volumes(node.get_volumes(), volumes),
        disks=tuple(
            document.DiskDevice(
                id=row.id,
                volume=parts.disks[row.id] if parts.disks[row.id] in volumes else None,
                params=row.params,
            )
            for row in node.diskdevice_set.order_by("id")
            if row.id in parts.disks
        ),
        domain_xml=serialise(parts.definition),
        snapshots=tuple(_snapshot(snapshot, plugs) for snapshot in parts.snapshots),
    )


def _interface(row: Any) -> document.Interface:
    found = filter_of_interface(row)
    return document.Interface(
        id=row.id,
        label=row.label,
        mac_address=original_mac(row.params, row.mac_address),
        type=row.type,
        model=row.model,
        l2_network_device=row.l2_network_device_id,
        params=without_note(row.params),
        addresses=tuple(str(a.ip_address) for a in row.address_set.order_by("id")),
        nwfilter=None if found is None else _renamed(found, row),
    )


def _renamed(nwfilter: document.NwFilter, card: Any) -> document.NwFilter:
    """The filter of a network card, which is called after its address."""
    mac = original_mac(card.params, card.mac_address)
    name = interface_filter_name(nwfilter.includes or "", mac)
    return nwfilter if mac == card.mac_address else nwfilter.model_copy(update={"name": name})


def _snapshot(snapshot: SnapshotMetadata, plugs: _Plugs) -> document.Snapshot:
    root = parse(snapshot.xml)
    plugs.name_in(root)
    return document.Snapshot(
        name=snapshot.name,
        parent=snapshot.parent,
        description=snapshot.description,
        created=snapshot.created,
        state=snapshot.state.value,
        memory=snapshot.memory_path,
        internal=snapshot.internal,
        xml=serialise(root),
    )


def _l2_device(row: Any) -> document.L2NetworkDevice:
    isolated = IsolatedNetwork.of(row)
    return document.L2NetworkDevice(
        id=row.id,
        name=row.name,
        created=row.created,
        address_pool=row.address_pool_id,
        params=row.params if isolated is None else {**row.params, **isolated.params},
        network=original_network(row),
        nwfilter=filter_of_network(row),
    )


def original_network(row: Any) -> document.Network | None:
    """The network as it was before it was isolated; otherwise as :func:`read_network`."""
    network, isolated = read_network(row), IsolatedNetwork.of(row)
    if network is None or isolated is None:
        return network
    original = document.Network.model_validate(isolated.network)
    return original.model_copy(update={"uuid": network.uuid, "active": network.active})


def read_network(row: Any) -> document.Network | None:
    """The libvirt network; None where the row was never defined or the network is gone."""
    uuid = row.params.get("uuid")
    if not uuid:
        return None
    with asking(f"reading network {row.name}"):
        try:
            network = row.driver.conn.networkLookupByUUIDString(uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
                raise
            return None
        xml = network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
        active = bool(network.isActive())
    return parse_network(xml, active=active)


def parse_network(xml: str, *, active: bool) -> document.Network:
    """Take a libvirt network apart.

    :raises FormatError: it is none
    """
    root = parse(xml)
    forward, bridge, mac, ip = (root.find(tag) for tag in ("forward", "bridge", "mac", "ip"))
    dhcp_range = root.find("ip/dhcp/range")
    return document.Network(
        name=root.findtext("name") or "",
        uuid=root.findtext("uuid") or "",
        bridge=None if bridge is None else bridge.get("name"),
        mac=None if mac is None else mac.get("address"),
        forward_mode=None if forward is None else forward.get("mode", "nat"),
        stp=bridge is None or bridge.get("stp", "on") == "on",
        delay=0 if bridge is None else _whole(bridge.get("delay", "0")),
        ip=None if ip is None else ip.get("address"),
        prefix=None if ip is None else _prefix(ip),
        dhcp_start=None if dhcp_range is None else dhcp_range.get("start"),
        dhcp_end=None if dhcp_range is None else dhcp_range.get("end"),
        dhcp_hosts=tuple(
            document.DhcpHost(mac=h.get("mac", ""), ip=h.get("ip", ""), name=h.get("name"))
            for h in root.findall("ip/dhcp/host")
        ),
        active=active,
        xml=xml,
    )


def _prefix(ip: etree._Element) -> int:
    """libvirt writes a netmask where somebody has defined it with one."""
    netmask = ip.get("netmask")
    if netmask is None:
        return _whole(ip.get("prefix", "24"))
    try:
        return ipaddress.ip_network(f"0.0.0.0/{netmask}").prefixlen
    except ValueError as error:
        raise FormatError(f"a network with the netmask {netmask!r}") from error


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise FormatError(f"a network with {text[:40]!r} for a number") from error


def read_host(connection: Any) -> document.Host:
    """The libvirt host behind a connection."""
    with asking("reading the capabilities of the host"):
        capabilities = parse(connection.getCapabilities())
        cpu = capabilities.find("host/cpu")
        return document.Host(
            name=connection.getHostname(),
            architecture=capabilities.findtext("host/cpu/arch") or "",
            cpu_xml="" if cpu is None else serialise(cpu),
            libvirt_version=connection.getLibVersion(),
            qemu_version=connection.getVersion(),
        )


def provenance(
    *, description: str, test: document.TestRun | None, tags: Mapping[str, str]
) -> document.Provenance:
    """This process, now."""
    return document.Provenance(
        tool=f"devops_snapshot {__version__}",
        user=user_name(),
        created=datetime.datetime.now(datetime.timezone.utc),
        description=description.encode(errors="backslashreplace").decode(),
        test=test,
        tags=dict(tags),
    )
