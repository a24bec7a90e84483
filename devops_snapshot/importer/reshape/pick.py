"""Some nodes, or one snapshot, of an export, with the files that are needed for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from lxml import etree

from ...errors import FormatError, NotFoundError
from ...manifest.document import (
    DhcpHost,
    DiskDevice,
    Group,
    L2NetworkDevice,
    Manifest,
    Node,
    Snapshot,
    Volume,
)
from ...snapshot.domain_xml import disks_of, parse, serialise
from ...snapshot.metadata import SnapshotMetadata, parse_snapshot, with_parent
from .macs import plain_mac
from .parts import DEFINITIONS, with_groups, with_nodes, with_xml


def only_nodes(manifest: Manifest, names: Collection[str]) -> Manifest:
    """Without the other nodes, and what only they need; networks stay.

    :raises NotFoundError: a node that is not in the export
    """
    there = [node.name for node in manifest.environment.nodes]
    for name in names:
        if name not in there:
            raise NotFoundError(f"the export has no node {name!r}; it has: {', '.join(there)}")
    left_out = {
        plain_mac(interface.mac_address)
        for node in manifest.environment.nodes
        if node.name not in names
        for interface in node.interfaces
    }

    def of_group(group: Group) -> Group:
        nodes = tuple(node for node in group.nodes if node.name in names)
        networks = tuple(_without_hosts(l2, left_out) for l2 in group.l2_network_devices)
        return group.model_copy(update={"nodes": nodes, "l2_network_devices": networks})

    return _with_what_is_needed(with_groups(manifest, of_group))


def _without_hosts(l2: L2NetworkDevice, macs: Collection[str]) -> L2NetworkDevice:
    """Without the DHCP entries of nodes that do not come."""
    if l2.network is None:
        return l2

    def comes(host: DhcpHost) -> bool:
        return plain_mac(host.mac) not in macs

    root = parse(l2.network.xml)
    for dhcp in root.iterfind("ip/dhcp"):
        for element in dhcp.findall("host"):
            if plain_mac(element.get("mac", "")) in macs:
                dhcp.remove(element)
    hosts = tuple(filter(comes, l2.network.dhcp_hosts))
    network = l2.network.model_copy(update={"dhcp_hosts": hosts, "xml": serialise(root)})
    return l2.model_copy(update={"network": network})


def only_snapshot(manifest: Manifest, name: str) -> Manifest:
    """Without the other snapshots, and what only they need: "now" descends from this one.

    Internal snapshots lie inside the images: their data comes along, their names do not.

    :raises NotFoundError: a node has no such snapshot in the export
    """
    for node in manifest.environment.nodes:
        there = [snapshot.name for snapshot in node.snapshots]
        if name not in there:
            raise NotFoundError(
                f"node {node.name!r} has no snapshot {name!r} in the export; "
                f"it has: {', '.join(there) or 'none'}"
            )
    freeze = manifest.freeze_seconds if name == manifest.current else None
    volumes = _volume_ids(manifest)
    manifest = with_nodes(manifest, lambda node: _at(node, name, volumes))
    return _with_what_is_needed(
        manifest.model_copy(
            update={"snapshots": (name,), "current": name, "freeze_seconds": freeze}
        )
    )


def _volume_ids(manifest: Manifest) -> dict[str, int]:
    """By path: a disk of a node may be a volume of another, or of its group."""
    groups = manifest.environment.groups
    rows = [volume for group in groups for volume in group.volumes]
    rows += [volume for node in manifest.environment.nodes for volume in node.volumes]
    return {str(volume.params.get("uuid")): volume.id for volume in rows}


def _at(node: Node, name: str, volumes: Mapping[str, int]) -> Node:
    """The node as it was at the snapshot."""
    exported = next(snapshot for snapshot in node.snapshots if snapshot.name == name)
    alone = with_xml(exported, parse(with_parent(exported.xml, None)))
    metadata = parse_snapshot(alone.xml)
    return node.model_copy(
        update={
            "snapshots": (alone,),
            "domain_xml": serialise(metadata.definition),
            "disks": tuple(_disks_at(node, metadata, volumes)),
        }
    )


def _disks_at(
    node: Node, snapshot: SnapshotMetadata, volumes: Mapping[str, int]
) -> Iterator[DiskDevice]:
    """Rows of disks as they stood then; disks that were not there yet have none."""
    frozen = {disk.target: disk.path for disk in snapshot.frozen}
    for device in node.disks:
        target = str(device.params.get("target_dev"))
        if target not in frozen:
            continue
        path = frozen[target]
        if path is not None and path not in volumes:
            raise FormatError(
                f"disk {target} of node {node.name!r} at {snapshot.name!r} stands on {path!r}, "
                "which is no volume of its environment"
            )
        volume = None if path is None else volumes[path]
        yield device.model_copy(update={"volume": volume})


def _with_what_is_needed(manifest: Manifest) -> Manifest:
    """Without files that nobody stands on, and their rows."""
    below = {file.path: file.backing for file in manifest.files}
    needed: set[str] = set()
    for path in _used(manifest.environment.nodes):
        step: str | None = path
        while step is not None and step not in needed:
            needed.add(step)
            step = below.get(step)
    files = tuple(file for file in manifest.files if file.path in needed)

    def of_group(group: Group) -> Group:
        rows = [*group.volumes, *(volume for node in group.nodes for volume in node.volumes)]
        below = {row.id: row.backing_store for row in rows}
        kept = {row.id for row in rows if row.params.get("uuid") in needed}

        def of_node(node: Node) -> Node:
            return node.model_copy(update={"volumes": _volumes(node.volumes, kept, below)})

        return group.model_copy(
            update={
                "volumes": _volumes(group.volumes, kept, below),
                "nodes": tuple(of_node(node) for node in group.nodes),
            }
        )

    return with_groups(manifest.model_copy(update={"files": files}), of_group)


def _used(nodes: Iterable[Node]) -> Iterator[str]:
    """Files that a node stands on, now or at a snapshot."""
    for node in nodes:
        definitions = [parse(node.domain_xml), *_definitions(node.snapshots)]
        for definition in definitions:
            yield from (disk.path for disk in disks_of(definition) if disk.path)
        yield from (snapshot.memory for snapshot in node.snapshots if snapshot.memory)


def _definitions(snapshots: Iterable[Snapshot]) -> Iterator[etree._Element]:
    for snapshot in snapshots:
        root = parse(snapshot.xml)
        for tag in DEFINITIONS:
            yield from root.findall(tag)


def _volumes(
    rows: Iterable[Volume], kept: Collection[int], below: Mapping[int, int | None]
) -> tuple[Volume, ...]:
    """Those that are kept, each on the nearest one below that is."""

    def nearest(row: Volume) -> int | None:
        step, seen = row.backing_store, {row.id}
        while step is not None and step not in kept and step not in seen:
            seen.add(step)
            step = below.get(step)
        return step if step in kept else None

    return tuple(
        row.model_copy(update={"backing_store": nearest(row)}) for row in rows if row.id in kept
    )
