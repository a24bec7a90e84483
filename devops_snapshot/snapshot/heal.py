"""Telling libvirt again what it says wrongly of snapshots that it knows.

libvirt 9.0, asked to forget a snapshot (``virsh snapshot-delete --metadata``; fuel-devops's own
``snapshot-delete`` does the same), writes into its children that they stand on its layers. A revert
to a child would show the data of its parent, and nobody would name the layer that the child really
stands on: it would be merged away. What our rows have recorded is right, and comes before what
libvirt says, as long as the files that it names are there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..contract import Environment, Node
from . import pool
from .layers import chain_of
from .metadata import SnapshotMetadata, current_snapshot, snapshots_of, with_parent
from .nodes import nodes_with_domains
from .records import recorded_of
from .restore import redefine

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Distortion:
    """A snapshot of which libvirt says something else than what was recorded.

    :param what: one clause, with both values
    """

    what: str
    known: SnapshotMetadata
    recorded: SnapshotMetadata


def heal(environment: Environment) -> list[str]:
    """Tell libvirt what was recorded, where the two differ; says what was wrong.

    To be called, while the environment's lock is held, before anything relies on the snapshots or
    records them.
    """
    healed = []
    for node, domain in nodes_with_domains(environment):
        for distortion in distortions(snapshots_of(domain), recorded_of(node)):
            if is_whole(node, distortion.recorded):
                tell_as_recorded(domain, distortion)
                healed.append(distortion.what)
                LOG.warning("Node %s: %s; libvirt was told again", node.name, distortion.what)
    return healed


def distortions(
    known: Mapping[str, SnapshotMetadata], recorded: Mapping[str, SnapshotMetadata]
) -> list[Distortion]:
    """Snapshots that libvirt and our rows know, but not as the same."""
    return [
        Distortion(what, known[name], then)
        for name, then in recorded.items()
        if name in known
        and not known[name].internal
        and (what := _difference(known[name], then, known)) is not None
    ]


def is_whole(node: Node, snapshot: SnapshotMetadata) -> bool:
    """Whether the database knows all its layers, and all files that it needs are there."""
    volumes = {volume.uuid: volume for volume in node.get_volumes()}
    layers = [str(disk.path) for disk in snapshot.snapshotted]
    if not all(path in volumes for path in layers):
        return False
    files = [layer.uuid for path in layers for layer in chain_of(volumes[path])]
    files += [str(disk.path) for disk in snapshot.copied]
    files += [snapshot.memory_path] if snapshot.memory_path else []
    return all(pool.is_there(node.driver, path) for path in files)


def tell_as_recorded(domain: Any, distortion: Distortion) -> None:
    """Let libvirt say what was recorded, under the recorded parent if it knows that one."""
    known, recorded = distortion.known, distortion.recorded
    parent = recorded.parent if recorded.parent in snapshots_of(domain) else known.parent
    is_current = current_snapshot(domain) == recorded.name
    redefine(domain, with_parent(recorded.xml, parent), current=is_current)


def _difference(
    now: SnapshotMetadata, then: SnapshotMetadata, known: Mapping[str, SnapshotMetadata]
) -> str | None:
    """Where they stand, where their memory is; or what they descend from, if that is there."""
    who = f"snapshot {now.name!r}"
    is_on, was_on = _layers(now), _layers(then)
    for target in sorted({*is_on, *was_on}):
        if is_on.get(target) != was_on.get(target):
            return (
                f"libvirt says that {target} of {who} stands on {is_on.get(target)}, "
                f"recorded is {was_on.get(target)}"
            )
    if now.memory_path != then.memory_path:
        return (
            f"libvirt says that the memory of {who} is in {now.memory_path}, "
            f"recorded is {then.memory_path}"
        )
    if now.parent != then.parent and then.parent in known:
        on = now.parent or "nothing"
        return f"libvirt says that {who} descends from {on}, recorded is {then.parent}"
    return None


def _layers(snapshot: SnapshotMetadata) -> dict[str, str | None]:
    return {disk.target: disk.path for disk in snapshot.held}
