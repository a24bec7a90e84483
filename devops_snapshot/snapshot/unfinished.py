"""Taking back a snapshot whose taking was killed.

Its rows are written before anything else is done, so that they tell what was begun.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from shlex import quote
from typing import Any

import libvirt

from ..contract import Environment, Node
from ..errors import ConflictError
from ..hypervisor import RunState, asking, domain_of
from ..models import EnvironmentSnapshot, NodeSnapshot, Underway
from . import pool
from .freeze import wake
from .metadata import current_snapshot, snapshots_of
from .reconcile import reconcile
from .restore import redefine

LOG = logging.getLogger(__name__)


def underway(environment: Environment, deed: Underway) -> list[EnvironmentSnapshot]:
    """Snapshots with which that was begun: by the command that runs now, or one that was killed."""
    rows = EnvironmentSnapshot.objects.filter(environment_id=environment.id, underway=deed)
    return list(rows)


def check_no_revert(environment: Environment) -> None:
    """A revert that was killed has left nodes at different moments.

    :raises ConflictError: saying which
    """
    for half in underway(environment, Underway.REVERTING):
        raise ConflictError(
            f"a revert of {environment.name!r} to {half.name!r} was killed half way: its nodes may "
            "be at different moments",
            hint=f"Revert again: dos.py revert {quote(environment.name)} {quote(half.name)}",
        )


def roll_back(environment: Environment) -> list[str]:
    """Take back what killed commands have begun; returns the names of those snapshots.

    Guests that were running go on. The overlays stay until the layers are tidied up: a guest may
    stand on them by now. To be called while the environment's lock is held.
    """
    rows = underway(environment, Underway.TAKING)
    for row in rows:
        LOG.warning("Snapshot %r was killed while it was taken: taking it back", row.name)
        nodes = {node.id: node for node in environment.get_nodes()}
        for part in row.node_snapshots.all():
            if part.node_id in nodes:
                _roll_back_node(nodes[part.node_id], row.name, part)
        row.delete()
    return [row.name for row in rows]


def _roll_back_node(node: Node, name: str, part: NodeSnapshot) -> None:
    domain = domain_of(node)
    _drop_metadata(domain, name)
    reconcile(node, domain)
    if part.state == RunState.RUNNING.value:
        wake(domain)
    known = [snapshot.memory_path for snapshot in snapshots_of(domain).values()]
    if part.memory_path and part.memory_path not in _known(known, node, part):
        pool.remove_file(node.driver, part.memory_path)


def _known(in_libvirt: Iterable[str | None], node: Node, part: NodeSnapshot) -> set[str | None]:
    recorded = NodeSnapshot.objects.filter(node_id=node.id).exclude(id=part.id)
    return {*in_libvirt, *recorded.values_list("memory_path", flat=True)}


def _drop_metadata(domain: Any, name: str) -> None:
    snapshots = snapshots_of(domain)
    if name not in snapshots:
        return
    was_current = current_snapshot(domain) == name
    with asking(f"deleting snapshot {name!r} of {domain.name()}"):
        metadata_only = libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY
        domain.snapshotLookupByName(name).delete(metadata_only)
    parent = snapshots[name].parent
    if was_current and parent is not None:
        redefine(domain, snapshots[parent].xml)
