"""Dropping one snapshot of one node: its memory and its name, not its layers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import libvirt

from ..contract import Environment, Node
from ..hypervisor import asking
from ..models import EnvironmentSnapshot, NodeSnapshot, Underway
from . import pool
from .metadata import (
    SnapshotMetadata,
    current_snapshot,
    parse_snapshot,
    snapshots_of,
    with_parent,
)
from .nodes import nodes_with_domains
from .records import forget, recorded_of
from .restore import redefine
from .unfinished import underway

LOG = logging.getLogger(__name__)


def begin_deletion(environment: Environment, names: Iterable[str]) -> None:
    """Write down that these are about to go, so that the next command can finish it."""
    for name in names:
        EnvironmentSnapshot.objects.update_or_create(
            environment_id=environment.id,
            name=name,
            defaults={"underway": Underway.DELETING},
        )


def finish_deletions(environment: Environment) -> list[str]:
    """Finish what killed commands have begun to delete; returns the names."""
    names = [row.name for row in underway(environment, Underway.DELETING)]
    for name in names:
        LOG.warning("Snapshot %r was half deleted by a command that was killed: finishing", name)
        for node, domain in nodes_with_domains(environment):
            snapshot = snapshots_of(domain).get(name) or _recorded(node, name)
            if snapshot is not None:
                drop(node, domain, snapshot)
        forget(environment, name)
    return names


def _recorded(node: Node, name: str) -> SnapshotMetadata | None:
    row = NodeSnapshot.objects.filter(node_id=node.id, snapshot__name=name).first()
    return parse_snapshot(row.metadata) if row is not None and row.metadata else None


def drop(node: Node, domain: Any, snapshot: SnapshotMetadata) -> None:
    """Its children become those of its parent. What is gone already is no error.

    :raises DevopsError: it can be repeated
    """
    if snapshot.internal:
        _delete_from_libvirt(domain, snapshot.name, 0)
        return
    if snapshot.memory_path and not _memory_is_shared(node, domain, snapshot):
        pool.remove_file(node.driver, snapshot.memory_path)
    if snapshot.name in snapshots_of(domain):
        _give_children_away(domain, snapshot)
        metadata_only = libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY
        _delete_from_libvirt(domain, snapshot.name, metadata_only)


def _memory_is_shared(node: Node, domain: Any, snapshot: SnapshotMetadata) -> bool:
    """A guest that did not run between two snapshots has one memory file for both."""
    others = [*snapshots_of(domain).values(), *recorded_of(node).values()]
    return any(
        other.memory_path == snapshot.memory_path and other.name != snapshot.name
        for other in others
    )


def _give_children_away(domain: Any, snapshot: SnapshotMetadata) -> None:
    """Make its children those of its parent.

    libvirt would do so itself; but libvirt 9.0 then also writes into them that their disks stand on
    the layers of the snapshot that goes, as if it had merged the layers, and a revert to a child
    would show the data of its parent.
    """
    now = current_snapshot(domain)
    snapshots = snapshots_of(domain)
    parent = snapshots[snapshot.name].parent
    for child in snapshots.values():
        if child.parent == snapshot.name:
            redefine(domain, with_parent(child.xml, parent), current=child.name == now)


def _delete_from_libvirt(domain: Any, name: str, flags: int) -> None:
    with asking(f"deleting snapshot {name!r} of {domain.name()}"):
        domain.snapshotLookupByName(name).delete(flags)
