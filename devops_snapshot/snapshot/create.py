"""Taking a snapshot of a whole environment, or of some of its nodes, at one moment.

A combined snapshot of memory and disks, taken node after node, cannot be rolled back: after the
memory save the guest's block nodes are inactive. So the steps are taken apart, each for all nodes
before the next: overlays are made; all guests are suspended; all memory is saved, in parallel,
unless only the disks are wanted; disks that can have no overlay are copied; all others are switched
to their overlays, and the guests go on;
libvirt is told that it was one snapshot each. What fails half way is undone for all of them; what
is killed half way is taken back by the next command, for which rows are written first.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import libvirt
from django.db import DatabaseError, transaction

from ..contract import Environment, Node
from ..errors import ConflictError, DevopsError, HypervisorError, NotFoundError
from ..hypervisor import RunState, domain_of, is_postmigrate, run_state
from ..interrupts import Interrupts, held_back
from ..models import EnvironmentSnapshot, NodeSnapshot, Underway
from ..progress import Progress, Quiet
from . import internal
from .domain_xml import disks_of
from .flatten import make_room
from .freeze import Freeze, frozen
from .memory import save_memories
from .metadata import DISK_ONLY, build_snapshot, snapshot_named, snapshots_of
from .nodes import nodes_with_domains
from .overlays import Overlay
from .plan import NodePlan, make_overlays, plan_node
from .quiesce import quiesced
from .records import forget, recorded_of, remember
from .restore import forget_chains, redefine
from .settle import settle
from .shared_disks import check_together, copy_shared, on_copies, shared_paths
from .switch import switch_disks
from .tidy import tidy
from .undo import Undo, undoing
from .unfinished import check_no_revert, underway

LOG = logging.getLogger(__name__)

# libvirt keeps a snapshot in a file named after it, written through "<name>.xml.new".
MAX_NAME_BYTES = 255 - len(".xml.new")

_PATIENCE = 20.0  # seconds that libvirt may take to answer again
_POLL = 0.5


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
    disk_only: bool = False,
    nodes: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> SnapshotResult:
    """Snapshot nodes of an environment at one moment, memory of running ones included.

    :param resume: guests that ran go on afterwards
    :param external: into overlays and memory files; else inside the qcow2 files, as fuel-devops
        does by default
    :param disk_only: without memory; the file systems of running guests are frozen for the moment
        where a guest agent answers
    :param nodes: names of those that are meant; None: all
    :raises NotFoundError: there is no such node
    :raises ConflictError: a snapshot of that name is there
    :raises DevopsError: anything else; no node is left snapshotted
    """
    check_name(name)
    _check_description(description)
    if not external and (disk_only or nodes is not None):
        raise DevopsError(
            "an internal snapshot is one of all nodes, with the memory of running ones",
            hint="Unset SNAPSHOTS_EXTERNAL, or set it to true",
        )
    settle(environment)
    check_no_revert(environment)
    chosen = _chosen(environment, nodes)
    domains = {node.name: domain_of(node) for node in chosen}
    _check_free(environment, name)
    try:
        with held_back() as interrupts, undoing(logging.INFO) as undo:
            if not external:
                return _create_internal(name, description, domains, resume, interrupts, undo)
            plans = [plan_node(environment, node, name, disk_only=disk_only) for node in chosen]
            flattened = [_make_room(plan, progress or Quiet(), interrupts) for plan in plans]
            if any(flattened):
                plans = [plan_node(environment, node, name, disk_only=disk_only) for node in chosen]
            shared = [path for plan in plans for path in shared_paths(plan.live)]
            check_together(environment, chosen, shared)
            return _create_external(environment, name, description, plans, resume, interrupts, undo)
    except BaseException:
        _take_back_the_rest(environment)
        raise


def _take_back_the_rest(environment: Environment) -> None:
    """What could not be undone, since libvirt was restarted meanwhile, is taken back as soon as it
    answers again; if it does not, by the next command.
    """
    deadline = time.monotonic() + _PATIENCE
    while underway(environment, Underway.TAKING):
        try:
            settle(environment)
            tidy(environment)
        except (DevopsError, DatabaseError) as error:
            if time.monotonic() > deadline:
                LOG.warning(
                    "Not all could be undone, guests may stand still (%s): "
                    "run 'dos.py sync %s --repair' when libvirt answers again",
                    error,
                    environment.name,
                )
                return
            time.sleep(_POLL)


def _make_room(plan: NodePlan, progress: Progress, interrupts: Interrupts) -> bool:
    disks = [disk for disk in disks_of(plan.live) if disk.writable]
    return make_room(plan.node, plan.domain, disks, progress, interrupts.heed)


def _chosen(environment: Environment, names: Sequence[str] | None) -> list[Node]:
    nodes = {node.name: node for node in environment.get_nodes()}
    if not nodes:
        raise NotFoundError(f"environment {environment.name!r} has no nodes")
    unknown = [name for name in names or () if name not in nodes]
    if unknown:
        raise NotFoundError(
            f"environment {environment.name!r} has no node {unknown[0]!r}; "
            f"it has: {', '.join(nodes)}"
        )
    return [node for name, node in nodes.items() if names is None or name in names]


def check_name(name: str) -> None:
    """Refuse a name that libvirt would only refuse after the overlays are made.

    :raises DevopsError: says which rule it breaks
    """
    if not name.strip() or name.startswith(".") or "/" in name or not name.isprintable():
        raise DevopsError(
            f"{name!r} cannot be the name of a snapshot",
            hint="It must not be empty, begin with a dot or contain slashes or control characters",
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        raise DevopsError(
            f"the snapshot name has {len(name.encode())} bytes, the most is {MAX_NAME_BYTES}"
        )


def _check_description(text: str) -> None:
    if not all(character.isprintable() or character in "\n\t" for character in text):
        raise DevopsError("the description contains control characters, which XML cannot hold")


def _check_free(environment: Environment, name: str) -> None:
    """Also on nodes that are not chosen, and among what virsh has deleted: its layers are there."""
    for node, domain in nodes_with_domains(environment):
        if name in snapshots_of(domain) or name in recorded_of(node):
            raise ConflictError(
                f"snapshot {name!r} is there already on node {node.name!r}",
                hint="Choose another name, or delete it with 'dos.py snapshot-delete'",
            )


def _create_external(
    environment: Environment,
    name: str,
    description: str,
    plans: Sequence[NodePlan],
    resume: bool,
    interrupts: Interrupts,
    undo: Undo,
) -> SnapshotResult:
    row = _begin(environment, name, description, plans)
    undo.later(_forget_unless_needed, row, undo)
    overlays = {plan.node.id: make_overlays(plan, name, undo) for plan in plans}
    interrupts.heed()
    with _still(plans, resume=resume) as freeze:
        save_memories(plans, undo, interrupts)
        copies = copy_shared(environment, plans, name, undo, interrupts.heed)
        for plan in plans:
            _check_still(plan)
        for plan in plans:
            switch_disks(plan, overlays[plan.node.id], undo)
        interrupts.heed()
    created = int(time.time())
    for plan in plans:
        forget_chains(plan.domain)
        _tell_libvirt(plan, name, description, created, overlays[plan.node.id], copies, undo)
    states = {plan.node.name: plan.state for plan in plans}
    domains = {plan.node.name: plan.domain for plan in plans}
    result = SnapshotResult(name, states, _seconds(domains, freeze))
    interrupts.heed()
    _record(environment, row, overlays, result)
    return result


def _forget_unless_needed(row: EnvironmentSnapshot, undo: Undo) -> None:
    """If anything could not be undone, it tells what was begun."""
    if not undo.has_failed:
        row.delete()


@contextmanager
def _still(plans: Sequence[NodePlan], *, resume: bool) -> Iterator[Freeze]:
    """Inside, all guests stand still; without memory, what they have cached is on their disks."""
    domains = [plan.domain for plan in plans]
    without_memory = [plan.domain for plan in plans if plan.disk_only]
    with quiesced(without_memory), frozen(domains, resume=resume) as freeze:
        yield freeze


def _check_still(plan: NodePlan) -> None:
    """Nobody (virsh, fuel-devops) has resumed, stopped or started the guest meanwhile.

    :raises HypervisorError: disks of now would not fit the memory of then
    """
    expected = RunState.SHUTOFF if plan.state is RunState.SHUTOFF else RunState.PAUSED
    still = run_state(plan.domain) is expected
    if not still or (plan.memory_path and not is_postmigrate(plan.domain)):
        raise HypervisorError(
            f"somebody else has started or stopped {plan.domain.name()} during the snapshot",
            hint="Try again",
        )


def _tell_libvirt(
    plan: NodePlan,
    name: str,
    description: str,
    created: int,
    overlays: Sequence[Overlay],
    copies: Mapping[str, str],
    undo: Undo,
) -> None:
    document = build_snapshot(
        name=name,
        description=description,
        parent=plan.parent,
        created=created,
        state=DISK_ONLY if plan.disk_only else plan.state.value,
        memory_path=plan.memory_path,
        overlays={overlay.target: overlay.path for overlay in overlays},
        domain=on_copies(plan.live, copies),
        inactive=on_copies(plan.inactive, copies),
    )
    undo.later(_make_parent_current, plan)
    snapshot = redefine(plan.domain, document)
    undo.later(snapshot.delete, libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)


def _make_parent_current(plan: NodePlan) -> None:
    """Where libvirt fails to record a snapshot, it forgets which one was the current."""
    if plan.parent is not None:
        redefine(plan.domain, snapshot_named(plan.domain, plan.parent).xml)


def _seconds(domains: Mapping[str, Any], freeze: Freeze) -> dict[str, float]:
    """By node; those that did not run are left out."""
    return {
        node: freeze.seconds[domain.name()]
        for node, domain in domains.items()
        if domain.name() in freeze.seconds
    }


def _begin(
    environment: Environment, name: str, description: str, plans: Sequence[NodePlan]
) -> EnvironmentSnapshot:
    """Write down what is about to be done.

    A row of that name may be left of a snapshot of which nothing is left but the row.
    """
    with _database(name), transaction.atomic():
        forget(environment, name)
        row = EnvironmentSnapshot.objects.create(
            environment_id=environment.id,
            name=name,
            description=description,
            underway=Underway.TAKING,
        )
        for plan in plans:
            NodeSnapshot.objects.create(
                snapshot=row,
                node_id=plan.node.id,
                node_name=plan.node.name,
                state=plan.state.value,
                memory_path=plan.memory_path or "",
            )
    return row


def _record(
    environment: Environment,
    row: EnvironmentSnapshot,
    overlays: Mapping[int, Sequence[Overlay]],
    result: SnapshotResult,
) -> None:
    """Disks now stand on their overlays, also in the database; and this snapshot was taken."""
    with _database(result.name), transaction.atomic():
        for layers in overlays.values():
            for overlay in layers:
                overlay.attach()
        for part in row.node_snapshots.all():
            part.freeze_seconds = result.freeze_seconds.get(part.node_name)
            part.save()
        row.underway = Underway.NOTHING
        row.freeze_seconds = result.longest_freeze
        row.save()
        remember(environment)


@contextmanager
def _database(name: str) -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        reason = str(error).strip().partition("\n")[0]
        raise DevopsError(f"the database does not take snapshot {name!r}: {reason}") from error


def _create_internal(
    name: str,
    description: str,
    domains: Mapping[str, Any],
    resume: bool,
    interrupts: Interrupts,
    undo: Undo,
) -> SnapshotResult:
    """Memory and disks inside the qcow2 files, by libvirt alone."""
    states = internal.states_before(domains)
    with frozen(list(domains.values()), resume=resume) as freeze:
        for domain in domains.values():
            internal.take(domain, name, description, undo)
            interrupts.heed()
    return SnapshotResult(name, states, _seconds(domains, freeze))
