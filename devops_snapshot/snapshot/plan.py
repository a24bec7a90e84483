"""What a snapshot will do to each node, settled while the guests still run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import libvirt
from lxml import etree

from ..contract import Environment, Node, Volume
from ..errors import ConflictError, UnsupportedError
from ..hypervisor import RunState, asking, domain_of, run_state
from . import pool
from .domain_xml import DomainDisk, disks_of, parse
from .metadata import current_snapshot
from .notes import without_notes
from .overlays import Overlay, device_of, make_overlay
from .saved import saved_into
from .undo import Undo


@dataclass(frozen=True)
class NodePlan:
    """One node's part.

    :param parent: name of the snapshot that "now" descends from
    :param live: its ``<domain>``, whose disks stand on what the snapshot will name
    :param inactive: the persistent ``<domain>``
    :param disk_only: its memory is not wanted, though it is on
    :param memory_path: where its memory goes; None for a guest that is off, or disks only
    :param memory_is_saved: the guest has not run since that file was written: do not save it again
    """

    node: Node
    domain: Any
    state: RunState
    parent: str | None
    live: etree._Element
    inactive: etree._Element
    disk_only: bool
    memory_path: str | None
    memory_is_saved: bool

    @property
    def targets(self) -> tuple[str, ...]:
        """All drives, ``sda`` ..."""
        return tuple(disk.target for disk in disks_of(self.live))


def plan_node(
    environment: Environment, node: Node, name: str, *, disk_only: bool = False
) -> NodePlan:
    """Look at a node; nothing is changed.

    :param disk_only: leave its memory out
    :raises DevopsError: it cannot be snapshotted
    """
    domain = domain_of(node)
    state = run_state(domain)
    live = _definition(domain)
    for disk in disks_of(live):
        _check_disk(node, disk)
        _check_no_job(domain, disk)
    parent = current_snapshot(domain)
    disk_only = disk_only and state is not RunState.SHUTOFF
    saved = memory = None
    if state is RunState.PAUSED and not disk_only:
        saved = saved_into(domain, {disk.target: disk.path for disk in disks_of(live)})
        if saved is not None and not pool.is_there(node.driver, saved):
            saved = None
    if state is not RunState.SHUTOFF and not disk_only:
        file_name = f"snapshot-memory-{environment.name}_{node.name}.{name}"
        memory = saved or str(pool.free_file(node.driver, file_name))
    return NodePlan(
        node=node,
        domain=domain,
        state=state,
        parent=parent,
        live=live,
        inactive=_definition(domain, libvirt.VIR_DOMAIN_XML_INACTIVE),
        disk_only=disk_only,
        memory_path=memory,
        memory_is_saved=saved is not None,
    )


def _check_disk(node: Node, disk: DomainDisk) -> None:
    if not (disk.writable or disk.shared):
        return
    if disk.path is None:
        raise UnsupportedError(
            f"disk {disk.target} of node {node.name!r} is no file, so it cannot be snapshotted"
        )
    _volume_below(node, disk)


def _check_no_job(domain: Any, disk: DomainDisk) -> None:
    """libvirt would refuse when the guest stands still already."""
    if disk.writable and domain.isActive():
        with asking(f"looking for block jobs of {domain.name()}"):
            job = domain.blockJobInfo(disk.target, 0)
        if job:
            raise ConflictError(
                f"a block job is running on disk {disk.target} of {domain.name()}",
                hint=f"Wait for it, or end it: virsh blockjob {domain.name()} {disk.target} "
                "--abort",
            )


def _volume_below(node: Node, disk: DomainDisk) -> Volume:
    """The row behind a disk, where database and libvirt agree."""
    volume = device_of(node, disk).volume
    if volume is None or volume.uuid != disk.path:
        raise ConflictError(
            f"disk {disk.target} of node {node.name!r} stands on {disk.path}, "
            f"but the database says {volume.uuid if volume else 'nothing'}"
        )
    return volume


def _definition(domain: Any, flags: int = 0) -> etree._Element:
    """The ``<domain>``: live where the guest is on, unless flags ask for the persistent one."""
    with asking(f"reading the definition of {domain.name()}"):
        definition = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE | flags))
    without_notes(definition)
    return definition


def make_overlays(plan: NodePlan, name: str, undo: Undo) -> Sequence[Overlay]:
    """One overlay for each disk the guest can write."""
    made = []
    for disk in disks_of(plan.live):
        if disk.writable:
            overlay = make_overlay(
                node=plan.node,
                device=device_of(plan.node, disk),
                frozen=_volume_below(plan.node, disk),
                suffix=name,
            )
            undo.later(overlay.discard, plan.domain)
            made.append(overlay)
    return made
