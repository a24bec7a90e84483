"""Taking an environment back to a snapshot, external or internal.

Reverting to an external snapshot never touches what was frozen: every disk gets a fresh overlay on
the snapshot's layers, memory is restored on top of it, and the overlay that the guest wrote to
before goes away when nothing stands on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
from django.db import transaction

from ..contract import Environment, Node, Volume
from ..errors import NotFoundError
from ..hypervisor import RunState, asking, domain_of, run_state
from . import pool
from .domain_xml import DomainDisk
from .layers import remove_unneeded
from .metadata import SnapshotMetadata, check_uncovered, snapshots_of, with_files
from .overlays import Overlay, device_of, make_overlay, volume_at_path
from .restore import define, restore_memory, set_current


@dataclass(frozen=True)
class _NodeRevert:
    node: Node
    domain: Any
    snapshot: SnapshotMetadata


def revert(environment: Environment, name: str, *, resume: bool = False) -> None:
    """Take all nodes back to a snapshot.

    :param resume: guests that were running or paused then run on; else they stay paused
    :raises NotFoundError: a node lacks the snapshot, or a file of it; nothing was changed
    :raises ConflictError: it cannot be reverted without harm to another; nothing was changed
    """
    reverts = [_check(node, name) for node in _nodes_with(environment, name)]
    external = [step for step in reverts if not step.snapshot.internal]
    _revert_external(external, name, resume=resume)
    for step in reverts:
        if step.snapshot.internal:
            _revert_internal(step, resume=resume)


def _nodes_with(environment: Environment, name: str) -> list[Node]:
    nodes = list(environment.get_nodes())
    lacking = [node.name for node in nodes if name not in snapshots_of(domain_of(node))]
    if len(lacking) == len(nodes):
        raise NotFoundError(
            f"environment {environment.name!r} has no snapshot {name!r}",
            hint=f"'dos.py snapshot-list {environment.name}' shows what it has",
        )
    if lacking:
        raise NotFoundError(f"snapshot {name!r} is missing on nodes: {', '.join(lacking)}")
    return nodes


def _check(node: Node, name: str) -> _NodeRevert:
    domain = domain_of(node)
    snapshot = snapshots_of(domain)[name]
    if snapshot.internal:
        _check_internal(domain, snapshot)
    else:
        _check_files(node, snapshot)
    return _NodeRevert(node, domain, snapshot)


def _check_internal(domain: Any, snapshot: SnapshotMetadata) -> None:
    """Reverting an internal snapshot under overlays would silently rewrite what they stand on."""
    check_uncovered(
        domain,
        snapshot,
        hint="Reverting to it would destroy them: delete them first, or revert to one of them",
    )


def _check_files(node: Node, snapshot: SnapshotMetadata) -> None:
    paths = [disk.path for disk in snapshot.snapshotted] + [snapshot.memory_path]
    for path in filter(None, paths):
        if not Path(path).exists() and pool.volume_at(node.driver, path) is None:
            raise NotFoundError(
                f"snapshot {snapshot.name!r} of node {node.name!r} needs {path}, which is not there"
            )


def _revert_external(reverts: Sequence[_NodeRevert], name: str, *, resume: bool) -> None:
    with ExitStack() as undo:
        overlays = {step.node.id: _fresh_overlays(step, undo) for step in reverts}
        for step in reverts:
            _power_off(step.domain)
        for step in reverts:
            _bring_back(step, overlays[step.node.id], undo, paused=not resume)
        undo.pop_all()
    for step in reverts:
        abandoned = _attach(overlays[step.node.id])
        remove_unneeded(step.node, step.domain, abandoned)


def _fresh_overlays(step: _NodeRevert, undo: ExitStack) -> tuple[Overlay, ...]:
    made = []
    for disk in step.snapshot.snapshotted:
        overlay = _fresh_overlay(step, disk)
        undo.callback(overlay.volume.remove)
        made.append(overlay)
    return tuple(made)


def _fresh_overlay(step: _NodeRevert, disk: DomainDisk) -> Overlay:
    return make_overlay(
        node=step.node,
        device=device_of(step.node, disk),
        frozen=volume_at_path(step.node, str(disk.path)),
        suffix=step.snapshot.name,
    )


def _power_off(domain: Any) -> None:
    with asking(f"stopping {domain.name()}"):
        if domain.isActive():
            domain.destroy()


def _bring_back(
    step: _NodeRevert, overlays: Sequence[Overlay], undo: ExitStack, *, paused: bool
) -> None:
    with asking(f"reading the definition of {step.domain.name()}"):
        before = step.domain.XMLDesc(
            libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE
        )
    undo.callback(_as_before, step, before)
    sources = _sources(step.snapshot, overlays)
    definition = step.snapshot.definition
    connection = step.node.driver.conn
    if step.snapshot.memory_path is not None:
        emulator = definition.findtext("./devices/emulator")
        restore_memory(
            connection, step.snapshot.memory_path, sources, emulator=emulator, paused=paused
        )
    domain = define(connection, definition, sources)
    paths = {overlay.target: overlay.path for overlay in overlays}
    set_current(domain, with_files(step.snapshot.xml, overlays=paths))


def _sources(snapshot: SnapshotMetadata, overlays: Sequence[Overlay]) -> dict[str, tuple[str, str]]:
    """Where every disk of the reverted node stands: on its overlay, or (a cdrom) where it stood."""
    sources = {disk.target: (disk.path, disk.format) for disk in snapshot.frozen if disk.path}
    return sources | {overlay.target: (overlay.path, "qcow2") for overlay in overlays}


def _as_before(step: _NodeRevert, definition: str) -> None:
    """After a failure: the node is off, on the disks it had."""
    _power_off(step.domain)
    with asking(f"defining {step.domain.name()} as it was"):
        step.node.driver.conn.defineXML(definition)


def _attach(overlays: Sequence[Overlay]) -> list[Volume]:
    """Write to the database where the disks are now; returns the volumes they stood on before."""
    abandoned = []
    with transaction.atomic():
        for overlay in overlays:
            if overlay.device.volume is not None:
                abandoned.append(overlay.device.volume)
            overlay.device.volume = overlay.volume
            overlay.device.save()
    return abandoned


def _revert_internal(step: _NodeRevert, *, resume: bool) -> None:
    with asking(f"finding snapshot {step.snapshot.name!r} of {step.domain.name()}"):
        snapshot = step.domain.snapshotLookupByName(step.snapshot.name)
    flags = 0
    if step.snapshot.state is not RunState.SHUTOFF:
        flags = (
            libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING
            if resume
            else libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED
        )
    _power_off(step.domain)
    with asking(f"reverting {step.domain.name()} to snapshot {step.snapshot.name!r}"):
        step.domain.revertToSnapshot(snapshot, flags)
    if resume and run_state(step.domain) is RunState.PAUSED:
        step.domain.resume()
