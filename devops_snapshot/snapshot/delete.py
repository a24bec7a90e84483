"""Dropping a snapshot's name, its memory, and the layers that nothing else needs."""

from __future__ import annotations

from typing import Any

import libvirt

from ..contract import Environment, Node, Volume
from ..errors import NotFoundError
from ..hypervisor import asking, domain_of
from ..interrupts import held_back
from ..models import EnvironmentSnapshot
from . import pool
from .internal import check_uncovered
from .layers import remove_unneeded
from .metadata import SnapshotMetadata, current_snapshot, snapshots_of, with_parent
from .restore import redefine


def delete(environment: Environment, name: str) -> list[str]:
    """Delete a snapshot on every node that has it; returns the names of these nodes.

    Layers that other snapshots or the running guest stand on stay as they are; children of the
    snapshot become children of its parent. If it fails half way, it can be repeated.

    :raises NotFoundError: no node has it
    :raises ConflictError: an internal one beneath external ones
    """
    found = _nodes_with(environment, name)
    for _, domain, snapshot in found:
        if snapshot.internal:
            check_uncovered(domain, snapshot, hint="Delete those first")
    with held_back():
        for node, domain, snapshot in found:
            if snapshot.internal:
                _delete_from_libvirt(domain, name, 0)
            else:
                _delete_external(node, domain, snapshot)
        EnvironmentSnapshot.objects.filter(environment_id=environment.id, name=name).delete()
    return [node.name for node, _, _ in found]


def _nodes_with(environment: Environment, name: str) -> list[tuple[Node, Any, SnapshotMetadata]]:
    found = []
    for node in environment.get_nodes():
        domain = domain_of(node)
        snapshots = snapshots_of(domain)
        if name in snapshots:
            found.append((node, domain, snapshots[name]))
    if not found:
        raise NotFoundError(
            f"environment {environment.name!r} has no snapshot {name!r}",
            hint=f"'dos.py snapshot-list {environment.name}' shows what it has",
        )
    return found


def _delete_external(node: Node, domain: Any, snapshot: SnapshotMetadata) -> None:
    """Its metadata goes last: it says what is left to be done after a failure."""
    paths = {disk.path for disk in snapshot.snapshotted} | set(snapshot.overlays.values())
    candidates: list[Volume] = [v for v in node.get_volumes() if v.uuid in paths]
    remove_unneeded(node, domain, candidates, without=snapshot.name)
    if snapshot.memory_path and not _memory_is_shared(domain, snapshot):
        pool.remove_file(node.driver, snapshot.memory_path)
    _give_children_away(domain, snapshot)
    _delete_from_libvirt(domain, snapshot.name, libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)


def _memory_is_shared(domain: Any, snapshot: SnapshotMetadata) -> bool:
    """A guest that did not run between two snapshots has one memory file for both."""
    return any(
        other.memory_path == snapshot.memory_path and other.name != snapshot.name
        for other in snapshots_of(domain).values()
    )


def _give_children_away(domain: Any, snapshot: SnapshotMetadata) -> None:
    """Make its children those of its parent.

    libvirt would do so itself; but libvirt 9.0 then also writes into them that their disks stand on
    the layers of the snapshot that goes, as if it had merged the layers, and a revert to a child
    would show the data of its parent.
    """
    now = current_snapshot(domain)
    for child in snapshots_of(domain).values():
        if child.parent == snapshot.name:
            document = with_parent(child.xml, snapshot.parent)
            redefine(domain, document, current=child.name == now)


def _delete_from_libvirt(domain: Any, name: str, flags: int) -> None:
    with asking(f"deleting snapshot {name!r} of {domain.name()}"):
        domain.snapshotLookupByName(name).delete(flags)
