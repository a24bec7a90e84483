"""What an export takes along: snapshots, the files they stand on, and the rows of those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import libvirt

from ..contract import DiskDevice, Environment, Node, Volume
from ..errors import NotFoundError
from ..hypervisor import asking, domain_of
from ..manifest.document import File
from ..manifest.reading import NodeParts
from ..snapshot.domain_xml import DomainDisk, disks_of, parse
from ..snapshot.layers import chain_of
from ..snapshot.metadata import SnapshotMetadata, snapshots_of, with_ancestors
from ..snapshot.overlays import device_of, volume_at_path
from .files import discover


@dataclass(frozen=True)
class NodeSelection:
    """One node's part.

    :param writable: paths that its guest can write to now
    """

    node: Node
    domain: Any
    parts: NodeParts
    writable: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True)
class Selection:
    """Everything that one export takes along.

    :param names: the chosen snapshots, oldest first
    :param current: the one "now" will be after an import; None for definitions only
    :param files: without their layers yet; whatever is below stands before what is above
    :param volumes: ids of the rows behind the files
    """

    names: tuple[str, ...]
    current: str | None
    nodes: tuple[NodeSelection, ...]
    files: tuple[File, ...]
    volumes: frozenset[int]

    @property
    def written_to(self) -> list[Any]:
        """Domains whose guests could write to an exported file while it is read.

        Only internal snapshots make that happen: an external one's layers are frozen.
        """
        paths = {file.path for file in self.files}
        return [node.domain for node in self.nodes if node.writable & paths]


def select_snapshots(environment: Environment, names: Iterable[str], *, every: bool) -> Selection:
    """The named snapshots, or every one, with their ancestors.

    :raises NotFoundError: a node lacks one of them, or a row or file is missing
    """
    nodes = _nodes_of(environment)
    known = {node.id: snapshots_of(domain_of(node)) for node in nodes}
    chosen = _all_names(known.values()) if every else list(dict.fromkeys(names))
    _check_names(environment, nodes, known, chosen)
    chosen.sort(key=lambda name: max(known[node.id][name].created for node in nodes))
    current = chosen[-1]
    selected = [_select_node(node, known[node.id], chosen, current) for node in nodes]
    memory = {
        snapshot.memory_path
        for part in selected
        for snapshot in part.parts.snapshots
        if snapshot.memory_path
    }
    images = {
        disk.path: disk.format
        for part in selected
        for snapshot in part.parts.snapshots
        for disk in snapshot.frozen
        if disk.path
    }
    files = discover(images | _unattached(environment), memory)
    return Selection(
        names=tuple(chosen),
        current=current,
        nodes=tuple(selected),
        files=files,
        volumes=_rows_of(environment, files),
    )


def select_definitions(environment: Environment) -> Selection:
    """Rows, networks and domains; of the images only what they are, not what is in them."""
    nodes = _nodes_of(environment)
    selected = []
    images: dict[str, str] = {}
    for node in nodes:
        domain = domain_of(node)
        with asking(f"reading the definition of {domain.name()}"):
            definition = parse(
                domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE)
            )
        originals = {
            device.id: _original(node, device.volume)
            for device in node.disk_devices
            if device.volume is not None
        }
        images |= {volume.uuid: volume.format for volume in originals.values()}
        disks = {device: volume.id for device, volume in originals.items()}
        selected.append(NodeSelection(node, domain, NodeParts(definition, (), disks)))
    files = discover(images | _unattached(environment), set())
    return Selection(
        names=(),
        current=None,
        nodes=tuple(selected),
        files=files,
        volumes=_rows_of(environment, files),
    )


def _nodes_of(environment: Environment) -> list[Node]:
    nodes = list(environment.get_nodes())
    if not nodes:
        raise NotFoundError(f"environment {environment.name!r} has no nodes to export")
    return nodes


def _all_names(known: Iterable[dict[str, SnapshotMetadata]]) -> list[str]:
    """The names that every node has."""
    sets = [set(snapshots) for snapshots in known]
    return sorted(set.intersection(*sets))


def _check_names(
    environment: Environment,
    nodes: Sequence[Node],
    known: dict[int, dict[str, SnapshotMetadata]],
    names: Sequence[str],
) -> None:
    if not names:
        raise NotFoundError(f"environment {environment.name!r} has no snapshot to export")
    for name in names:
        lacking = [node.name for node in nodes if name not in known[node.id]]
        if len(lacking) == len(nodes):
            raise NotFoundError(
                f"environment {environment.name!r} has no snapshot {name!r}",
                hint=f"'dos.py snapshot-list {environment.name}' shows what it has",
            )
        if lacking:
            raise NotFoundError(f"snapshot {name!r} is missing on nodes: {', '.join(lacking)}")


def _select_node(
    node: Node, known: dict[str, SnapshotMetadata], chosen: Sequence[str], current: str
) -> NodeSelection:
    domain = domain_of(node)
    snapshots = [known[name] for name in with_ancestors(known, set(chosen))]
    now = known[current]
    disks = {
        device.id: volume.id
        for device, volume in (_frozen(node, disk) for disk in now.frozen if disk.path)
    }
    with asking(f"reading the definition of {domain.name()}"):
        live = disks_of(parse(domain.XMLDesc(0)))
    writable = frozenset(disk.path for disk in live if disk.writable and disk.path)
    return NodeSelection(node, domain, NodeParts(now.definition, snapshots, disks), writable)


def _frozen(node: Node, disk: DomainDisk) -> tuple[DiskDevice, Volume]:
    return device_of(node, disk), volume_at_path(node, str(disk.path))


def _original(node: Node, volume: Volume) -> Volume:
    """The volume as the environment was created with, below the overlays of snapshots."""
    own = {candidate.id for candidate in node.get_volumes()}
    for layer in chain_of(volume):
        if layer.backing_store is None or layer.backing_store.id not in own:
            return layer
    raise AssertionError("a backing chain ends")


def _unattached(environment: Environment) -> dict[str, str]:
    """Volumes of groups: base images, needed by rows even where no disk stands on them."""
    return {
        volume.uuid: volume.format
        for group in environment.get_groups()
        for volume in group.get_volumes()
    }


def _rows_of(environment: Environment, files: Iterable[File]) -> frozenset[int]:
    paths = {file.path for file in files}
    rows = [v for group in environment.get_groups() for v in group.get_volumes()]
    rows += [v for node in environment.get_nodes() for v in node.get_volumes()]
    return frozenset(row.id for row in rows if row.uuid in paths)
