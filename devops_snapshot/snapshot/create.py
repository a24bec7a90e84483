"""Taking a snapshot of a whole environment at one moment.

A combined snapshot of memory and disks, taken node after node, cannot be rolled back: after the
memory save the guest's block nodes are inactive. So the steps are taken apart, each for all nodes
before the next: overlays are made; all guests are suspended; all memory is saved, in parallel; all
disks are switched to their overlays; libvirt is told that it was one snapshot each. What fails half
way is undone for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import libvirt
from django.db import transaction
from lxml import etree

from ..contract import Environment, Node
from ..errors import ConflictError, DevopsError, NotFoundError
from ..hypervisor import (
    RunState,
    asking,
    domain_of,
    is_postmigrate,
    private_connection,
    run_state,
)
from ..models import EnvironmentSnapshot, NodeSnapshot
from . import pool
from .domain_xml import DomainDisk, disks_of, parse, serialise
from .freeze import Freeze, frozen
from .metadata import build_snapshot, current_snapshot, snapshots_of
from .overlays import Overlay, device_of, make_overlay

# libvirt keeps a snapshot in a file named after it, written through "<name>.xml.new".
MAX_NAME_BYTES = 255 - len(".xml.new")
_WORKERS = 8
_T = TypeVar("_T")


@dataclass(frozen=True)
class NodePlan:
    """What will be done to one node, settled before anything is done.

    :param disks: the disks that need an overlay
    :param memory_path: where its memory goes; None for a guest that is off
    :param memory_is_saved: the guest has not run since that file was written: do not save it again
    """

    node: Node
    domain: Any
    state: RunState
    disks: tuple[DomainDisk, ...]
    parent: str | None
    memory_path: str | None
    memory_is_saved: bool = False


@dataclass(frozen=True)
class SnapshotResult:
    """What was done.

    :param states: node name to what it was doing
    :param freeze_seconds: node name to how long it stood still
    """

    name: str
    states: dict[str, RunState]
    freeze_seconds: dict[str, float]

    @property
    def longest_freeze(self) -> float | None:
        """Seconds of the node that stood still longest; None when none was running."""
        return max(self.freeze_seconds.values(), default=None)


def create(
    environment: Environment,
    name: str,
    *,
    description: str = "",
    resume: bool = True,
    external: bool = True,
) -> SnapshotResult:
    """Snapshot all nodes of an environment at one moment, memory of running ones included.

    :param resume: guests that ran go on afterwards
    :param external: into overlays and memory files; else inside the qcow2 files, as fuel-devops
        does by default
    :raises ConflictError: a snapshot of that name is there
    :raises DevopsError: anything else; no node is left snapshotted
    """
    check_name(name)
    nodes = list(environment.get_nodes())
    if not nodes:
        raise NotFoundError(f"environment {environment.name!r} has no nodes")
    domains = [domain_of(node) for node in nodes]
    _check_free(name, domains)
    if external:
        return _create_external(environment, name, description, nodes, domains, resume)
    return _create_internal(environment, name, description, nodes, domains, resume)


def check_name(name: str) -> None:
    """Refuse a name that libvirt would only refuse after the overlays are made.

    :raises DevopsError: says which rule it breaks
    """
    if not name or name.startswith(".") or "/" in name or not name.isprintable():
        raise DevopsError(
            f"{name!r} cannot be the name of a snapshot",
            hint="It must not be empty, begin with a dot or contain slashes or control characters",
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        raise DevopsError(
            f"the snapshot name has {len(name.encode())} bytes, the most is {MAX_NAME_BYTES}"
        )


def _check_free(name: str, domains: Iterable[Any]) -> None:
    for domain in domains:
        if name in snapshots_of(domain):
            raise ConflictError(
                f"snapshot {name!r} is there already on {domain.name()}",
                hint="Choose another name, or delete it with 'dos.py snapshot-delete'",
            )


def _create_external(
    environment: Environment,
    name: str,
    description: str,
    nodes: Sequence[Node],
    domains: Sequence[Any],
    resume: bool,
) -> SnapshotResult:
    with ExitStack() as undo:
        overlays = {
            node.id: _overlays(node, domain, name, undo) for node, domain in _zip(nodes, domains)
        }
        with frozen(domains, resume=resume) as freeze:
            plans = [
                _plan(environment, node, domain, name, freeze)
                for node, domain in _zip(nodes, domains)
            ]
            definitions = {
                plan.node.id: (_definition(plan.domain), _definition(plan.domain, persistent=True))
                for plan in plans
            }
            _save_memories(plans, undo)
            for plan in plans:
                _switch_disks(plan, overlays[plan.node.id], undo)
            created = int(time.time())
            for plan in plans:
                document = build_snapshot(
                    name=name,
                    description=description,
                    parent=plan.parent,
                    created=created,
                    state=plan.state,
                    memory_path=plan.memory_path,
                    overlays={overlay.target: overlay.path for overlay in overlays[plan.node.id]},
                    domain=definitions[plan.node.id][0],
                    inactive=definitions[plan.node.id][1],
                )
                _tell_libvirt(plan.domain, name, document, undo)
        result = SnapshotResult(
            name=name,
            states={plan.node.name: plan.state for plan in plans},
            freeze_seconds=_by_node(plans, freeze),
        )
        _record(environment, description, plans, overlays, result)
        undo.pop_all()
    return result


def _zip(nodes: Sequence[Node], domains: Sequence[Any]) -> Iterable[tuple[Node, Any]]:
    return zip(nodes, domains, strict=True)


def _overlays(node: Node, domain: Any, name: str, undo: ExitStack) -> tuple[Overlay, ...]:
    """One overlay for each disk the guest can write, made while the guest still runs."""
    made = []
    for disk in disks_of(_definition(domain)):
        if not disk.writable or disk.path is None:
            continue
        device = device_of(node, disk)
        if device.volume is None or device.volume.uuid != disk.path:
            raise ConflictError(
                f"disk {disk.target} of {domain.name()} stands on {disk.path}, "
                f"but the database says {device.volume.uuid if device.volume else 'nothing'}"
            )
        overlay = make_overlay(node=node, device=device, frozen=device.volume, suffix=name)
        undo.callback(overlay.volume.remove)
        made.append(overlay)
    return tuple(made)


def _plan(environment: Environment, node: Node, domain: Any, name: str, freeze: Freeze) -> NodePlan:
    state = run_state(domain)
    if domain.name() in freeze.stopped:
        state = RunState.RUNNING
    parent = current_snapshot(domain)
    disks = tuple(disk for disk in disks_of(_definition(domain)) if disk.writable)
    if state is RunState.SHUTOFF:
        return NodePlan(node, domain, state, disks, parent, memory_path=None)
    saved = _memory_of_parent(domain, parent) if state is RunState.PAUSED else None
    if saved is not None:
        return NodePlan(node, domain, state, disks, parent, saved, memory_is_saved=True)
    path = pool.free_file(node.driver, f"snapshot-memory-{environment.name}_{node.name}.{name}")
    return NodePlan(node, domain, state, disks, parent, str(path))


def _memory_of_parent(domain: Any, parent: str | None) -> str | None:
    """The memory file of a guest that has not run since it was written; QEMU would refuse to save
    again.
    """
    if not is_postmigrate(domain) or parent is None:
        return None
    return snapshots_of(domain)[parent].memory_path


def _definition(domain: Any, *, persistent: bool = False) -> etree._Element:
    """The ``<domain>``: live where the guest is on, unless the persistent one is asked for."""
    flags = libvirt.VIR_DOMAIN_XML_SECURE
    if persistent:
        flags |= libvirt.VIR_DOMAIN_XML_INACTIVE
    with asking(f"reading the definition of {domain.name()}"):
        return parse(domain.XMLDesc(flags))


def _save_memories(plans: Sequence[NodePlan], undo: ExitStack) -> None:
    to_save = [plan for plan in plans if plan.memory_path and not plan.memory_is_saved]
    for plan in to_save:
        undo.callback(pool.remove_file, plan.node.driver, str(plan.memory_path))
    _in_parallel(_save_memory, to_save)
    for plan in to_save:
        pool.refresh(plan.node.driver)


def _save_memory(plan: NodePlan) -> None:
    """A snapshot of memory only, over a connection of its own, unknown to libvirt's metadata."""
    root = etree.Element("domainsnapshot")
    etree.SubElement(root, "memory", snapshot="external", file=str(plan.memory_path))
    disks = etree.SubElement(root, "disks")
    for disk in disks_of(_definition(plan.domain)):
        etree.SubElement(disks, "disk", name=disk.target, snapshot="no")
    document = etree.tostring(root, encoding="unicode")
    with private_connection(plan.node.driver.connection_string) as connection:
        domain = domain_of(plan.node, connection)
        with asking(f"saving the memory of {domain.name()}"):
            domain.snapshotCreateXML(document, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA)


def _in_parallel(action: Callable[[_T], None], items: Sequence[_T]) -> None:
    """Do it for all; the first error is raised when all have ended."""
    if not items:
        return
    with ThreadPoolExecutor(max_workers=min(_WORKERS, len(items))) as workers:
        futures = [workers.submit(action, item) for item in items]
    for future in futures:
        future.result()


def _switch_disks(plan: NodePlan, overlays: Sequence[Overlay], undo: ExitStack) -> None:
    """Put all disks of a node on their overlays at once."""
    if not overlays:
        return
    by_target = {overlay.target: overlay.path for overlay in overlays}
    root = etree.Element("domainsnapshot")
    etree.SubElement(root, "memory", snapshot="no")
    disks = etree.SubElement(root, "disks")
    for disk in disks_of(_definition(plan.domain)):
        if disk.target not in by_target:
            etree.SubElement(disks, "disk", name=disk.target, snapshot="no")
            continue
        element = etree.SubElement(disks, "disk", name=disk.target, snapshot="external")
        etree.SubElement(element, "driver", type="qcow2")
        etree.SubElement(element, "source", file=by_target[disk.target])
    flags = (
        libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
        | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
        | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
        | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    )
    before = serialise(_definition(plan.domain, persistent=True))
    with asking(f"switching the disks of {plan.domain.name()} to their overlays"):
        plan.domain.snapshotCreateXML(etree.tostring(root, encoding="unicode"), flags)
    undo.callback(_switch_back, plan, overlays, before)


def _switch_back(plan: NodePlan, overlays: Sequence[Overlay], definition: str) -> None:
    """Undo a switch: an active guest may have run on its overlays by now, so they are committed.

    A guest whose memory was saved has inactive block nodes until it runs, so a paused one runs for
    the moment this takes.
    """
    domain = plan.domain
    if plan.state is not RunState.SHUTOFF:
        was_paused = run_state(domain) is RunState.PAUSED
        if was_paused:
            domain.resume()
        for overlay in overlays:
            _commit_active(domain, overlay.target)
        if was_paused:
            domain.suspend()
    with asking(f"defining {domain.name()} as it was"):
        plan.node.driver.conn.defineXML(definition)


def _commit_active(domain: Any, target: str) -> None:
    """Write the top layer into the one below and let the guest stand on that."""
    flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE | libvirt.VIR_DOMAIN_BLOCK_COMMIT_SHALLOW
    with asking(f"committing the overlay of {target} of {domain.name()}"):
        domain.blockCommit(target, None, None, 0, flags)
        while True:
            job = domain.blockJobInfo(target)
            if not job or (job["end"] and job["cur"] == job["end"]):
                break
            time.sleep(0.05)
        domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)


def _tell_libvirt(domain: Any, name: str, document: str, undo: ExitStack) -> None:
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
    with asking(f"recording snapshot {name!r} of {domain.name()}"):
        snapshot = domain.snapshotCreateXML(document, flags)
    undo.callback(snapshot.delete, libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)


def _by_node(plans: Sequence[NodePlan], freeze: Freeze) -> dict[str, float]:
    return {
        plan.node.name: freeze.seconds[plan.domain.name()]
        for plan in plans
        if plan.domain.name() in freeze.seconds
    }


def _record(
    environment: Environment,
    description: str,
    plans: Sequence[NodePlan],
    overlays: dict[int, tuple[Overlay, ...]],
    result: SnapshotResult,
) -> None:
    """Disks now stand on their overlays, also in the database; and this snapshot was taken."""
    with transaction.atomic():
        for plan in plans:
            for overlay in overlays[plan.node.id]:
                overlay.device.volume = overlay.volume
                overlay.device.save()
        row = EnvironmentSnapshot.objects.create(
            environment_id=environment.id,
            name=result.name,
            description=description,
            freeze_seconds=result.longest_freeze,
        )
        for plan in plans:
            NodeSnapshot.objects.create(
                snapshot=row,
                node_id=plan.node.id,
                node_name=plan.node.name,
                state=plan.state.value,
                memory_path=plan.memory_path or "",
                freeze_seconds=result.freeze_seconds.get(plan.node.name),
            )


def _create_internal(
    environment: Environment,
    name: str,
    description: str,
    nodes: Sequence[Node],
    domains: Sequence[Any],
    resume: bool,
) -> SnapshotResult:
    """Memory and disks inside the qcow2 files, by libvirt alone."""
    for domain in domains:
        if any(not snapshot.internal for snapshot in snapshots_of(domain).values()):
            raise ConflictError(
                f"{domain.name()} has external snapshots, on which no internal one can stand",
                hint="Unset SNAPSHOTS_EXTERNAL, or set it to true",
            )
    root = etree.Element("domainsnapshot")
    etree.SubElement(root, "name").text = name
    if description:
        etree.SubElement(root, "description").text = description
    document = etree.tostring(root, encoding="unicode")
    states: dict[str, RunState] = {}
    with ExitStack() as undo, frozen(domains, resume=resume) as freeze:
        for node, domain in _zip(nodes, domains):
            stopped = domain.name() in freeze.stopped
            states[node.name] = RunState.RUNNING if stopped else run_state(domain)
            with asking(f"taking the internal snapshot {name!r} of {domain.name()}"):
                snapshot = domain.snapshotCreateXML(document, 0)
            undo.callback(snapshot.delete, 0)
        undo.pop_all()
    seconds = {
        node.name: freeze.seconds[domain.name()]
        for node, domain in _zip(nodes, domains)
        if domain.name() in freeze.seconds
    }
    return SnapshotResult(name=name, states=states, freeze_seconds=seconds)
