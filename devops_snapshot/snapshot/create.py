"""Taking a snapshot of a whole environment at one moment.

A combined snapshot of memory and disks, taken node after node, cannot be rolled back: after the
memory save the guest's block nodes are inactive. So the steps are taken apart, each for all nodes
before the next: overlays are made; all guests are suspended; all memory is saved, in parallel; all
disks are switched to their overlays, and the guests go on; libvirt is told that it was one snapshot
each. What fails half way is undone for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import libvirt
from django.db import DatabaseError, transaction

from ..contract import Environment
from ..errors import ConflictError, DevopsError, HypervisorError, NotFoundError
from ..hypervisor import RunState, domain_of, is_postmigrate, run_state
from ..interrupts import Interrupts, held_back
from ..models import EnvironmentSnapshot, NodeSnapshot
from . import internal
from .freeze import Freeze, frozen
from .memory import save_memories
from .metadata import build_snapshot, snapshot_named, snapshots_of
from .overlays import Overlay
from .plan import NodePlan, make_overlays, plan_node
from .restore import redefine
from .switch import switch_disks
from .undo import Undo, undoing

# libvirt keeps a snapshot in a file named after it, written through "<name>.xml.new".
MAX_NAME_BYTES = 255 - len(".xml.new")


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
    _check_description(description)
    nodes = list(environment.get_nodes())
    if not nodes:
        raise NotFoundError(f"environment {environment.name!r} has no nodes")
    domains = {node.name: domain_of(node) for node in nodes}
    _check_free(name, domains.values())
    with held_back() as interrupts, undoing() as undo:
        if not external:
            return _create_internal(name, description, domains, resume, interrupts, undo)
        plans = [plan_node(environment, node, name) for node in nodes]
        return _create_external(environment, name, description, plans, resume, interrupts, undo)


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
    plans: Sequence[NodePlan],
    resume: bool,
    interrupts: Interrupts,
    undo: Undo,
) -> SnapshotResult:
    overlays = {plan.node.id: make_overlays(plan, name, undo) for plan in plans}
    interrupts.heed()
    with frozen([plan.domain for plan in plans], resume=resume) as freeze:
        save_memories(plans, undo, interrupts)
        for plan in plans:
            _check_still(plan)
        for plan in plans:
            switch_disks(plan, overlays[plan.node.id], undo)
        interrupts.heed()
    created = int(time.time())
    for plan in plans:
        _tell_libvirt(plan, name, description, created, overlays[plan.node.id], undo)
    states = {plan.node.name: plan.state for plan in plans}
    domains = {plan.node.name: plan.domain for plan in plans}
    result = SnapshotResult(name, states, _seconds(domains, freeze))
    interrupts.heed()
    _record(environment, description, plans, overlays, result)
    return result


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
    undo: Undo,
) -> None:
    document = build_snapshot(
        name=name,
        description=description,
        parent=plan.parent,
        created=created,
        state=plan.state,
        memory_path=plan.memory_path,
        overlays={overlay.target: overlay.path for overlay in overlays},
        domain=plan.live,
        inactive=plan.inactive,
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


def _record(
    environment: Environment,
    description: str,
    plans: Sequence[NodePlan],
    overlays: Mapping[int, Sequence[Overlay]],
    result: SnapshotResult,
) -> None:
    """Disks now stand on their overlays, also in the database; and this snapshot was taken."""
    try:
        with transaction.atomic():
            for layers in overlays.values():
                for overlay in layers:
                    overlay.attach()
            _write_rows(environment, description, plans, result)
    except DatabaseError as error:
        reason = str(error).strip().partition("\n")[0]
        raise DevopsError(
            f"the database does not take snapshot {result.name!r}: {reason}"
        ) from error


def _write_rows(
    environment: Environment,
    description: str,
    plans: Sequence[NodePlan],
    result: SnapshotResult,
) -> None:
    """A row of that name may be left of a snapshot that virsh or fuel-devops deleted."""
    EnvironmentSnapshot.objects.filter(environment_id=environment.id, name=result.name).delete()
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
