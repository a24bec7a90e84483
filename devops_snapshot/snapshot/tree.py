"""The tree of an environment's snapshots: what descends from what, and what each holds on disk."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..contract import Environment, Node
from ..hypervisor import asking, domain_of
from ..models import EnvironmentSnapshot, NodeSnapshot
from . import pool
from .domain_xml import disks_of, parse
from .metadata import SnapshotMetadata, current_snapshot, parse_snapshot, snapshots_of
from .nodes import nodes_with_domains
from .records import rows_of


@dataclass(frozen=True)
class TreeSnapshot:
    """One name and all that is to be told of it.

    :param parent: what it descends from; where its nodes disagree, the youngest of theirs
    :param states: node name to ``running``, ``paused``, ``shutoff`` or ``disk-only``
    :param internal: nodes on which it lies inside the qcow2 files
    :param missing: nodes of which our rows know it and libvirt does not
    :param complete: false while it is being taken, or where its taking was killed
    :param disk_bytes: allocated in the layer files that it names and no other snapshot does
    :param memory_bytes: allocated in its memory files, without those that another one shares
    :param freeze_seconds: how long its guests stood still, where that was recorded
    :param now: nodes whose "now" descends from it
    """

    name: str
    parent: str | None
    created: datetime.datetime
    description: str
    states: dict[str, str]
    internal: tuple[str, ...]
    missing: tuple[str, ...]
    complete: bool
    disk_bytes: int
    memory_bytes: int
    freeze_seconds: float | None
    now: tuple[str, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(sorted(self.states))


@dataclass(frozen=True)
class Now:
    """Where a node is.

    :param snapshot: what libvirt's current snapshot is; None: it descends from none
    :param disk_bytes: allocated in the files that its disks write to
    """

    node: str
    snapshot: str | None
    disk_bytes: int


@dataclass(frozen=True)
class Tree:
    """All snapshots of an environment, oldest first, and where its nodes are."""

    snapshots: tuple[TreeSnapshot, ...]
    now: tuple[Now, ...]


@dataclass(frozen=True)
class _Part:
    """One node's part of a snapshot.

    :param layers: the files that it names; those of an internal one are its node's images
    """

    node: Node
    name: str
    parent: str | None
    created: datetime.datetime
    description: str
    state: str
    internal: bool = False
    layers: frozenset[str] = frozenset()
    memory: str | None = None
    missing: bool = False


def tree_of(environment: Environment) -> Tree:
    """All snapshots of an environment with what each holds alone on disk.

    Those are told as well that our rows know and libvirt does not. What a snapshot holds alone are
    the allocated bytes of the layer files that it names and no other snapshot names, and of its
    memory files unless another one names them, too. An internal snapshot names the image that it
    lies in, and holds no file alone.

    :raises DevopsError: a domain is gone, or libvirt does not answer
    """
    nodes = [node for node, _ in nodes_with_domains(environment)]
    now = tuple(_now_of(node) for node in nodes)
    parts: dict[str, list[_Part]] = defaultdict(list)
    for part in (part for node in nodes for part in _parts_of(node)):
        parts[part.name].append(part)
    rows = {row.name: row for row in rows_of(environment)}
    sizes = _sizes(parts)
    found = [_tree_snapshot(name, parts, rows.get(name), sizes, now) for name in {**parts, **rows}]
    return Tree(tuple(sorted(found, key=lambda item: _age(item, rows.get(item.name)))), now)


def _age(
    snapshot: TreeSnapshot, row: EnvironmentSnapshot | None
) -> tuple[datetime.datetime, datetime.datetime]:
    """libvirt knows the second, our rows know which of one second was first."""
    return snapshot.created, _aware(row.created) if row else snapshot.created


def _now_of(node: Node) -> Now:
    domain = domain_of(node)
    with asking(f"reading the definition of {domain.name()}"):
        definition = parse(domain.XMLDesc(0))
    disks = [disk for disk in disks_of(definition) if disk.writable or disk.shared]
    files = {disk.path for disk in disks if disk.path}
    return Now(
        node=node.name,
        snapshot=current_snapshot(domain),
        disk_bytes=sum(pool.allocated(node.driver, path) for path in files),
    )


def _parts_of(node: Node) -> Iterator[_Part]:
    known = snapshots_of(domain_of(node))
    for snapshot in known.values():
        yield _part(node, snapshot)
    rows = NodeSnapshot.objects.filter(node_id=node.id).select_related("snapshot")
    for row in rows.order_by("snapshot__created", "snapshot_id"):
        if row.snapshot.name in known:
            continue
        if row.metadata:
            yield _part(node, parse_snapshot(row.metadata), missing=True)
        else:
            yield _part_of_row(node, row)


def _part(node: Node, snapshot: SnapshotMetadata, *, missing: bool = False) -> _Part:
    return _Part(
        node=node,
        name=snapshot.name,
        parent=snapshot.parent,
        created=snapshot.created,
        description=snapshot.description,
        state=snapshot.told_state,
        internal=snapshot.internal,
        layers=frozenset(disk.path for disk in snapshot.held if disk.path),
        memory=snapshot.memory_path,
        missing=missing,
    )


def _part_of_row(node: Node, row: NodeSnapshot) -> _Part:
    """What is known without metadata: it is being taken, or was by an early version of this."""
    return _Part(
        node=node,
        name=row.snapshot.name,
        parent=None,
        created=_aware(row.snapshot.created),
        description=row.snapshot.description,
        state=row.state,
        memory=row.memory_path or None,
        missing=True,
    )


def _aware(created: datetime.datetime) -> datetime.datetime:
    """A moment of a row, which is UTC without saying so."""
    return created.replace(tzinfo=datetime.timezone.utc)


@dataclass(frozen=True)
class _Sizes:
    """Bytes that snapshots hold alone, by name."""

    disk: Mapping[str, int]
    memory: Mapping[str, int]


def _sizes(parts: Mapping[str, Sequence[_Part]]) -> _Sizes:
    every = [part for name in parts for part in parts[name]]
    layers = [(part, path) for part in every for path in part.layers]
    return _Sizes(
        disk=_held_alone(layers),
        memory=_held_alone([(part, part.memory) for part in every if part.memory]),
    )


def _held_alone(files: Sequence[tuple[_Part, str]]) -> Mapping[str, int]:
    """What an internal snapshot lies in is held by others as well: at least by "now"."""
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for part, path in files:
        names[part.node.name, path].add(part.name)
    sizes: dict[str, int] = defaultdict(int)
    for part, path in files:
        if len(names[part.node.name, path]) == 1 and not part.internal:
            sizes[part.name] += pool.allocated(part.node.driver, path)
    return sizes


def _tree_snapshot(
    name: str,
    parts: Mapping[str, Sequence[_Part]],
    row: EnvironmentSnapshot | None,
    sizes: _Sizes,
    now: Iterable[Now],
) -> TreeSnapshot:
    own = parts.get(name, ())
    descriptions = [part.description for part in own] + ([row.description] if row else [])
    return TreeSnapshot(
        name=name,
        parent=_youngest({part.parent for part in own if part.parent} - {name}, parts),
        created=_aware(row.created) if row and not own else _created(own),
        description=next(filter(None, descriptions), ""),
        states={part.node.name: part.state for part in own},
        internal=tuple(sorted(part.node.name for part in own if part.internal)),
        missing=tuple(sorted(part.node.name for part in own if part.missing)),
        complete=row is None or row.complete,
        disk_bytes=sizes.disk.get(name, 0),
        memory_bytes=sizes.memory.get(name, 0),
        freeze_seconds=row.freeze_seconds if row else None,
        now=tuple(where.node for where in now if where.snapshot == name),
    )


def _created(parts: Iterable[_Part]) -> datetime.datetime:
    return min(part.created for part in parts)


def _youngest(names: Iterable[str], parts: Mapping[str, Sequence[_Part]]) -> str | None:
    """The one that was taken last; names that neither libvirt nor a row knows do not count."""
    known = [name for name in names if name in parts]
    return max(known, key=lambda name: (_created(parts[name]), name), default=None)
