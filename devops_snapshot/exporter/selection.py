"""What an export takes along: snapshots, the files they stand on, and the rows of those."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

import libvirt

from ..contract import Environment, Node, Volume
from ..errors import NotFoundError
from ..hypervisor import asking, domain_of
from ..manifest.document import File
from ..manifest.reading import NodeParts
from ..snapshot.copies import volumes_of
from ..snapshot.domain_xml import disks_of, parse, with_sources
from ..snapshot.layers import chain_of
from ..snapshot.metadata import SnapshotMetadata, snapshots_of, with_ancestors
from ..volumes import StoredFiles
from .files import discover


@dataclass(frozen=True)
class NodeSelection:
    """One node's part.

    :param writable: paths that its guest can write to now
    :param copied: those of them that no overlay can be put on: a snapshot's copy travels instead
    """

    node: Node
    domain: Any
    parts: NodeParts
    writable: frozenset[str] = field(default=frozenset())
    copied: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True)
class Selection:
    """Everything that one export takes along.

    :param names: the chosen snapshots, oldest first
    :param current: the one "now" will be after an import; None for definitions only
    :param files: without their layers yet; whatever is below stands before what is above
    :param stored: where their content is
    :param volumes: ids of the rows behind the files
    """

    names: tuple[str, ...]
    current: str | None
    nodes: tuple[NodeSelection, ...]
    files: tuple[File, ...]
    stored: StoredFiles
    volumes: frozenset[int]

    @property
    def writable(self) -> frozenset[str]:
        """Paths that a guest can write to now."""
        return frozenset(path for node in self.nodes for path in node.writable)

    @property
    def sealed(self) -> list[str]:
        """Paths of files that no guest writes to any more; none where only definitions go."""
        if self.current is None:
            return []
        return [file.path for file in self.files if file.path not in self.writable]

    @property
    def written_to(self) -> list[Any]:
        """Domains whose guests could write to an exported file while it is read.

        Only internal snapshots make that happen: an external one's layers are frozen.
        """
        paths = {file.path for file in self.files}
        return [node.domain for node in self.nodes if node.writable & paths]


def select_snapshots(
    environment: Environment, names: Iterable[str], *, every: bool, now: str | None = None
) -> Selection:
    """The named snapshots, or every one, with their ancestors.

    :param now: a snapshot besides those, which "now" will be after an import; without it, that is
        the newest one chosen
    :raises NotFoundError: a node lacks one of them, or a row or file is missing
    """
    nodes = _nodes_of(environment)
    known = {node.id: snapshots_of(domain_of(node)) for node in nodes}
    chosen = list(dict.fromkeys(_all_names(known.values()) if every else names))
    if now is not None and now not in chosen:
        chosen.append(now)
    _check_names(environment, nodes, known, chosen)
    chosen.sort(key=lambda name: max(_age(known[node.id], name) for node in nodes))
    current = now or chosen[-1]
    selected = [_select_node(node, known[node.id], chosen, current) for node in nodes]
    snapshots = [snapshot for part in selected for snapshot in part.parts.snapshots]
    memory = {snapshot.memory_path for snapshot in snapshots if snapshot.memory_path}
    images = {
        disk.path: disk.format
        for snapshot in snapshots
        for disk in (*snapshot.frozen, *disks_of(snapshot.definition))
        if disk.path
    }
    copied = {path for part in selected for path in part.copied}
    others = {path: kind for path, kind in _unattached(environment).items() if path not in copied}
    stored = _stored_files_of(environment)
    files = discover(images | others, memory, stored)
    return Selection(
        names=tuple(chosen),
        current=current,
        nodes=tuple(selected),
        files=files,
        stored=stored,
        volumes=_rows_of(environment, files),
    )


def select_definitions(environment: Environment) -> Selection:
    """Rows, networks and domains; of the images only what they are, not what is in them."""
    nodes = _nodes_of(environment)
    selected = [_select_definition(node) for node in nodes]
    images = {
        disk.path: disk.format
        for part in selected
        for disk in disks_of(part.parts.definition)
        if disk.path
    }
    stored = _stored_files_of(environment)
    files = discover(images | _unattached(environment), set(), stored)
    return Selection(
        names=(),
        current=None,
        nodes=tuple(selected),
        files=files,
        stored=stored,
        volumes=_rows_of(environment, files),
    )


def _stored_files_of(environment: Environment) -> StoredFiles:
    """The files behind it, in the storage pools of its groups."""
    drivers = [group.driver for group in environment.get_groups()]
    return StoredFiles([driver for driver in drivers if "connection_string" in driver.params])


def _nodes_of(environment: Environment) -> list[Node]:
    nodes = list(environment.get_nodes())
    if not nodes:
        raise NotFoundError(f"environment {environment.name!r} has no nodes to export")
    return nodes


def _all_names(known: Iterable[dict[str, SnapshotMetadata]]) -> list[str]:
    """The names that every node has."""
    sets = [set(snapshots) for snapshots in known]
    return sorted(set.intersection(*sets))


def check_names(environment: Environment, names: Iterable[str]) -> None:
    """Refuse names that not all nodes have.

    :raises NotFoundError: saying which nodes lack one
    """
    nodes = _nodes_of(environment)
    known = {node.id: snapshots_of(domain_of(node)) for node in nodes}
    _check_names(environment, nodes, known, list(names) or _all_names(known.values()))


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
                hint=f"'dos.py snapshot-list {quote(environment.name)}' shows what it has",
            )
        if lacking:
            raise NotFoundError(f"snapshot {name!r} is missing on nodes: {', '.join(lacking)}")


def _age(known: dict[str, SnapshotMetadata], name: str) -> tuple[datetime.datetime, int]:
    """Sorts a snapshot behind all it descends from, also within one second or with a clock set
    back.
    """
    line = [known[ancestor].created for ancestor in with_ancestors(known, {name})]
    return max(line), len(line)


def _select_node(
    node: Node, known: dict[str, SnapshotMetadata], chosen: Sequence[str], current: str
) -> NodeSelection:
    domain = domain_of(node)
    line = sorted(with_ancestors(known, set(chosen)), key=lambda name: (_age(known, name), name))
    rows = {volume.uuid: volume.id for volume in volumes_of(node.group.environment)}
    on_target: dict[str, int | None] = {}
    # what only another snapshot has (a disk, a medium in a drive that is empty now) keeps its row
    for disk in (disk for name in (*line, current) for disk in known[name].frozen):
        if disk.path is None:
            on_target.setdefault(disk.target, None)
        else:
            on_target[disk.target] = _row_at(node, disk.path, rows)
    disks = {
        device.id: on_target[device.target_dev]
        for device in node.disk_devices
        if device.target_dev in on_target
    }
    _check_rows(node, known[current], {device.target_dev for device in node.disk_devices})
    with asking(f"reading the definition of {domain.name()}"):
        live = disks_of(parse(domain.XMLDesc(0)))
    writable = frozenset(disk.path for disk in live if (disk.writable or disk.shared) and disk.path)
    parts = NodeParts(known[current].definition, [known[name] for name in line], disks)
    targets = {disk.target for disk in known[current].copied}
    copied = frozenset(disk.path for disk in live if disk.target in targets and disk.path)
    return NodeSelection(node, domain, parts, writable, copied)


def _row_at(node: Node, path: str, rows: dict[str, int]) -> int:
    if path not in rows:
        raise NotFoundError(f"the database knows no volume of node {node.name!r} at {path}")
    return rows[path]


def _check_rows(node: Node, snapshot: SnapshotMetadata, targets: set[str]) -> None:
    for disk in snapshot.held:
        if disk.target not in targets:
            raise NotFoundError(
                f"disk {disk.target} of node {node.name!r} at snapshot {snapshot.name!r} "
                "is not in the database any more"
            )


def _select_definition(node: Node) -> NodeSelection:
    """The node as it is defined now, its disks without the overlays of snapshots."""
    domain = domain_of(node)
    with asking(f"reading the definition of {domain.name()}"):
        definition = parse(
            domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE)
        )
    originals = {
        device: _original(node, device.volume) if device.volume is not None else None
        for device in node.disk_devices
    }
    attached = {disk.target for disk in disks_of(definition) if disk.path}
    sources = {
        device.target_dev: (volume.uuid, volume.format)
        for device, volume in originals.items()
        if volume is not None and device.target_dev in attached
    }
    disks = {
        device.id: None if volume is None else volume.id for device, volume in originals.items()
    }
    return NodeSelection(node, domain, NodeParts(with_sources(definition, sources), (), disks))


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
        if volume.uuid
    }


def _rows_of(environment: Environment, files: Iterable[File]) -> frozenset[int]:
    paths = {file.path for file in files}
    rows = [v for group in environment.get_groups() for v in group.get_volumes()]
    rows += [v for node in environment.get_nodes() for v in node.get_volumes()]
    return frozenset(row.id for row in rows if row.uuid in paths)
