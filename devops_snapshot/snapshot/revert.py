"""Taking an environment back to a snapshot, external or internal.

Reverting to an external snapshot never touches what was frozen: every disk gets a fresh overlay on
the snapshot's layers, and a fresh copy where it names one; memory is restored on top of it, and
what the guest wrote to before goes away when nothing stands on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from shlex import quote
from typing import Any

import libvirt
from django.db import DatabaseError, transaction

from ..connection import open_connection, switch_off
from ..contract import Environment, Node
from ..errors import DevopsError, NotFoundError
from ..hypervisor import asking, domain_of
from ..interrupts import held_back
from ..models import EnvironmentSnapshot, Underway
from ..progress import Progress
from . import internal, pool
from .domain_xml import DomainDisk, parse
from .freeze import wake
from .layers import chain_of
from .metadata import SnapshotMetadata, current_snapshot, snapshots_of, with_files
from .nodes import nodes_with_domains
from .overlays import Overlay, device_of, make_overlay, volume_at_path
from .parallel import for_all
from .records import recorded_of, remember
from .restore import adapted_to_memory, define, redefine, restore_memory
from .settle import settle
from .shared_disks import FORMAT, FreshCopy, check_together, fresh_copies, shared_paths
from .tidy import Waiting, tidy
from .traffic import unblock
from .undo import Undo, undoing


@dataclass(frozen=True)
class _Step:
    """One node's part; ``current`` is the snapshot that "now" descends from."""

    node: Node
    domain: Any
    snapshot: SnapshotMetadata
    current: SnapshotMetadata | None


@dataclass(frozen=True)
class _Turn:
    """One node whose overlays are made.

    :param uri: of its libvirt
    :param sources: where its disks will stand: disk target to (path, format)
    :param before: the definition it has now
    :param restored: the definition that its memory will be restored with; None: it is to be off
    """

    step: _Step
    uri: str
    overlays: Sequence[Overlay]
    sources: dict[str, tuple[str, str]]
    before: str
    restored: str | None


def revert(
    environment: Environment,
    name: str,
    *,
    resume: bool = False,
    with_memory: bool = True,
    progress: Progress | None = None,
) -> list[Waiting]:
    """Take the nodes of a snapshot back to it; returns the layers that stay for now, and why.

    Layers that no name needs any more are removed or merged when the guests are back.
    If it fails after the nodes were switched off, they stay off, on the disks they had; the error
    says so.

    :param resume: guests that were running or paused then run on; else they stay paused
    :param with_memory: without, all stay off, on the disks of that moment
    :raises NotFoundError: a node lacks the snapshot, or a file of it; nothing was changed
    :raises ConflictError: it cannot be reverted without harm to another; nothing was changed
    """
    settle(environment)
    remember(environment)
    steps = [_check(node, name) for node in _nodes_with(environment, name)]
    _check_shared(environment, steps)
    with held_back() as interrupts:
        with undoing() as undo:
            external = [step for step in steps if not step.snapshot.internal]
            told = [(step.node, step.domain, step.snapshot) for step in external]
            copies = fresh_copies(environment, told, undo, interrupts.heed)
            turns = [_prepare(step, copies, undo, with_memory=with_memory) for step in external]
            interrupts.heed()
            undo.later(_mark, environment, None)
            _mark(environment, name)
            with _saying_that_nodes_are_off(environment):
                _carry_out(steps, turns, undo)
                unblock(environment, [step.node for step in steps])
                with transaction.atomic():
                    for overlay in _overlays_of(turns):
                        overlay.attach()
                    for copy in copies.values():
                        copy.attach()
        _mark(environment, None)
        for step in steps:
            if not with_memory:
                _power_off(step.domain)
            elif resume:
                wake(step.domain)
        remember(environment)
        waits = tidy(environment, progress=progress, heed=interrupts.heed)
        remember(environment)
        return waits


def _mark(environment: Environment, name: str | None) -> None:
    """Write down which revert is under way, if any; an internal snapshot has a row
    for that only.
    """
    rows = EnvironmentSnapshot.objects.filter(environment_id=environment.id)
    with transaction.atomic():  # there is a mark all the while if one follows another
        rows.filter(underway=Underway.REVERTING).update(underway=Underway.NOTHING)
        if name is None:
            rows.filter(node_snapshots=None, underway=Underway.NOTHING).delete()
        else:
            EnvironmentSnapshot.objects.update_or_create(
                environment_id=environment.id, name=name, defaults={"underway": Underway.REVERTING}
            )


def _nodes_with(environment: Environment, name: str) -> list[Node]:
    """The nodes that it was taken of."""
    domains = nodes_with_domains(environment)
    nodes = [node for node, _ in domains]
    having = [node for node, domain in domains if name in snapshots_of(domain)]
    recorded = [node for node in nodes if name in recorded_of(node)]
    if not having and not recorded:
        raise NotFoundError(
            f"environment {environment.name!r} has no snapshot {name!r}",
            hint=f"'dos.py snapshot-list {quote(environment.name)}' shows what it has",
        )
    taken_of = recorded or nodes
    lacking = [node.name for node in taken_of if node not in having]
    if lacking:
        raise NotFoundError(
            f"snapshot {name!r} is missing on nodes: {', '.join(lacking)}",
            hint=f"'dos.py sync {quote(environment.name)}' shows what was lost, "
            "and what can be repaired",
        )
    return having


def _check(node: Node, name: str) -> _Step:
    domain = domain_of(node)
    snapshots = snapshots_of(domain)
    snapshot = snapshots[name]
    if snapshot.internal:
        internal.check_uncovered(
            domain,
            snapshot,
            hint="Reverting to it would destroy them: delete them first, or revert to one of them",
        )
    else:
        _check_files(node, snapshot)
    return _Step(node, domain, snapshot, snapshots.get(current_snapshot(domain) or ""))


def _check_files(node: Node, snapshot: SnapshotMetadata) -> None:
    tops = [volume_at_path(node, str(disk.path)) for disk in snapshot.snapshotted]
    paths = [layer.uuid for top in tops for layer in chain_of(top)]
    paths += [disk.path for disk in snapshot.frozen if disk.path]  # also a cdrom's
    for path in filter(None, [*paths, snapshot.memory_path]):
        if not pool.is_there(node.driver, path):
            raise NotFoundError(
                f"snapshot {snapshot.name!r} of node {node.name!r} needs {path}, which is not there"
            )


def _check_shared(environment: Environment, steps: Sequence[_Step]) -> None:
    with asking("reading the definitions of the nodes"):
        now = [parse(step.domain.XMLDesc(0)) for step in steps if step.snapshot.copied]
    shared = [path for definition in now for path in shared_paths(definition)]
    check_together(environment, [step.node for step in steps], shared)


def _prepare(
    step: _Step, copies: Mapping[str, FreshCopy], undo: Undo, *, with_memory: bool
) -> _Turn:
    """Do all that can fail while the guest still runs."""
    with asking(f"reading the definition of {step.domain.name()}"):
        before = step.domain.XMLDesc(
            libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE
        )
    overlays = [_fresh_overlay(step, disk, undo) for disk in step.snapshot.snapshotted]
    sources = {disk.target: (disk.path, disk.format) for disk in step.snapshot.frozen if disk.path}
    sources |= {overlay.target: (overlay.path, "qcow2") for overlay in overlays}
    sources |= {disk.target: (copies[str(disk.path)].path, FORMAT) for disk in step.snapshot.copied}
    restored = None
    if with_memory and step.snapshot.memory_path is not None:
        restored = adapted_to_memory(
            step.node.driver.conn,
            step.snapshot.memory_path,
            sources,
            emulator=step.snapshot.definition.findtext("./devices/emulator"),
        )
    uri = step.node.driver.connection_string
    return _Turn(step, uri, overlays, sources, before, restored)


def _fresh_overlay(step: _Step, disk: DomainDisk, undo: Undo) -> Overlay:
    overlay = make_overlay(
        node=step.node,
        device=device_of(step.node, disk),
        frozen=volume_at_path(step.node, str(disk.path)),
        suffix=step.snapshot.name,
    )
    undo.later(overlay.discard, step.domain)
    return overlay


@contextmanager
def _saying_that_nodes_are_off(environment: Environment) -> Iterator[None]:
    told = (
        f"The nodes of {environment.name!r} are off now, on the disks they had before: "
        "start them, or revert to another snapshot"
    )
    try:
        yield
    except DevopsError as error:
        error.hint = f"{error.hint}. {told}" if error.hint else told
        raise
    except DatabaseError as error:
        reason = str(error).strip().partition("\n")[0]
        raise DevopsError(f"the database does not take the revert: {reason}", hint=told) from error


def _carry_out(steps: Sequence[_Step], turns: Sequence[_Turn], undo: Undo) -> None:
    for_all([step.domain for step in steps], _power_off)
    for turn in turns:
        undo.later(_as_before, turn)
    for_all([turn for turn in turns if turn.restored is not None], _restore)
    for turn in turns:
        # After a restore the persistent definition still names the disks of before.
        define(turn.step.node.driver.conn, turn.step.snapshot.definition, turn.sources)
    for step in steps:
        if step.snapshot.internal:
            internal.revert(step.domain, step.snapshot)
    for turn in turns:
        undo.later(_metadata_as_before, turn.step)
        paths = {overlay.target: overlay.path for overlay in turn.overlays}
        redefine(turn.step.domain, with_files(turn.step.snapshot.xml, overlays=paths))


def _overlays_of(turns: Sequence[_Turn]) -> Iterator[Overlay]:
    return (overlay for turn in turns for overlay in turn.overlays)


def _power_off(domain: Any) -> None:
    with asking(f"stopping {domain.name()}"):
        switch_off(domain)


def _restore(turn: _Turn) -> None:
    with open_connection(turn.uri) as connection:
        restore_memory(connection, str(turn.step.snapshot.memory_path), str(turn.restored))


def _as_before(turn: _Turn) -> None:
    _power_off(turn.step.domain)
    with asking(f"defining {turn.step.domain.name()} as it was"):
        turn.step.node.driver.conn.defineXML(turn.before)


def _metadata_as_before(step: _Step) -> None:
    redefine(step.domain, step.snapshot.xml, current=False)
    if step.current is not None:
        redefine(step.domain, step.current.xml)
