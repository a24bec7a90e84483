"""What this project's tables know of snapshots, beside libvirt's metadata.

libvirt tells which snapshots there are. The rows keep a copy, so that a snapshot that virsh forgot
is noticed, its layers stay, and it can be told to libvirt again.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..contract import Environment, Node
from ..models import EnvironmentSnapshot, NodeSnapshot, Underway
from .guard import is_guarded
from .metadata import (
    SnapshotMetadata,
    current_snapshot,
    parse_snapshot,
    snapshots_of,
    with_files_renamed,
)
from .nodes import nodes_with_domains
from .restore import redefine


def remember(environment: Environment) -> None:
    """Let the rows say what libvirt says now of external snapshots; rows it lacks stay.

    Snapshots that somebody else made are guarded against virsh from then on.
    """
    rows = {row.name: row for row in rows_of(environment)}
    for node, domain in nodes_with_domains(environment):
        now = current_snapshot(domain)
        parts = {part.snapshot_id: part for part in NodeSnapshot.objects.filter(node_id=node.id)}
        for snapshot in snapshots_of(domain).values():
            if snapshot.internal:
                continue
            if not is_guarded(snapshot.xml):
                redefine(domain, snapshot.xml, current=snapshot.name == now)
            if snapshot.name not in rows:
                rows[snapshot.name] = _add(environment, snapshot)
            row = rows[snapshot.name]
            part = parts.get(row.pk) or NodeSnapshot(snapshot=row, node_id=node.id)
            _bring_up_to_date(part, node, snapshot)

    EnvironmentSnapshot.objects.filter(
        environment_id=environment.id, node_snapshots=None, underway=Underway.NOTHING
    ).delete()  # those of nodes that are gone


def _add(environment: Environment, snapshot: SnapshotMetadata) -> EnvironmentSnapshot:
    return EnvironmentSnapshot.objects.create(
        environment_id=environment.id,
        name=snapshot.name,
        description=snapshot.description,
        created=snapshot.created.replace(tzinfo=None),
    )


def _bring_up_to_date(part: NodeSnapshot, node: Node, snapshot: SnapshotMetadata) -> None:
    if part.pk is not None and part.metadata == snapshot.xml:
        return
    part.node_name = node.name
    part.state = snapshot.told_state
    part.memory_path = snapshot.memory_path or ""
    part.metadata = snapshot.xml
    part.save()


def rows_of(environment: Environment) -> list[EnvironmentSnapshot]:
    """The environment's snapshots as recorded, oldest first; also those half taken."""
    return list(EnvironmentSnapshot.objects.filter(environment_id=environment.id))


def recorded_of(node: Node) -> dict[str, SnapshotMetadata]:
    """A node's snapshots as recorded, by name; without those half taken."""
    rows = NodeSnapshot.objects.filter(node_id=node.id).select_related("snapshot")
    parsed = [
        parse_snapshot(row.metadata) for row in rows if row.metadata and row.snapshot.complete
    ]
    return {snapshot.name: snapshot for snapshot in parsed}


def forget(environment: Environment, name: str) -> None:
    """Drop the rows of a snapshot."""
    EnvironmentSnapshot.objects.filter(environment_id=environment.id, name=name).delete()


def rename_files(node: Node, renamed: Mapping[str, str]) -> None:
    """Let the recorded metadata of a node say where its layers are after a merge."""
    for row in NodeSnapshot.objects.filter(node_id=node.id).exclude(metadata=""):
        row.metadata = with_files_renamed(row.metadata, renamed)
        row.save()
