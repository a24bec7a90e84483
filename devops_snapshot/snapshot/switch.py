"""Putting the disks of a node on their overlays, and back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import libvirt
from lxml import etree

from ..errors import HypervisorError
from ..hypervisor import RunState, asking
from .domain_xml import parse, serialise
from .freeze import awake
from .overlays import Overlay
from .plan import NodePlan
from .undo import Undo

_FLAGS = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
)
_POLL = 0.05  # seconds


def switch_disks(plan: NodePlan, overlays: Sequence[Overlay], undo: Undo) -> None:
    """Put all disks of a node on their overlays at once."""
    if not overlays:
        return
    with asking(f"switching the disks of {plan.domain.name()} to their overlays"):
        plan.domain.snapshotCreateXML(_document(plan, overlays), _FLAGS)
    undo.later(_switch_back, plan, overlays)


def _document(plan: NodePlan, overlays: Sequence[Overlay]) -> str:
    by_target = {overlay.target: overlay.path for overlay in overlays}
    root = etree.Element("domainsnapshot")
    etree.SubElement(root, "memory", snapshot="no")
    disks = etree.SubElement(root, "disks")
    for target in plan.targets:
        if target not in by_target:
            etree.SubElement(disks, "disk", name=target, snapshot="no")
            continue
        element = etree.SubElement(disks, "disk", name=target, snapshot="external")
        etree.SubElement(element, "driver", type="qcow2")
        etree.SubElement(element, "source", file=by_target[target])
    return serialise(root)


def _switch_back(plan: NodePlan, overlays: Sequence[Overlay]) -> None:
    """Undo a switch: a guest may have run on its overlays by now, so they are committed.

    A guest whose memory was saved has inactive block nodes until it runs, so a paused one runs for
    the moment this takes.
    """
    if plan.state is not RunState.SHUTOFF:
        with awake(plan.domain):
            for overlay in overlays:
                _commit_active(plan.domain, overlay.target)
    with asking(f"defining {plan.domain.name()} as it was"):
        plan.node.driver.conn.defineXML(serialise(plan.inactive))


def _commit_active(domain: Any, target: str) -> None:
    """Write the top layer into the one below and let the guest stand on that."""
    flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE | libvirt.VIR_DOMAIN_BLOCK_COMMIT_SHALLOW
    with asking(f"committing the overlay of {target} of {domain.name()}"):
        domain.blockCommit(target, None, None, 0, flags)
        while not _is_ready(domain, target):
            time.sleep(_POLL)
        domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)


def _is_ready(domain: Any, target: str) -> bool:
    """Whether the commit has caught up with the guest: ``cur == end`` alone does not say so.

    :raises HypervisorError: the job has ended by itself
    """
    disk = parse(domain.XMLDesc(0)).find(f"./devices/disk/target[@dev='{target}']/../mirror")
    if disk is None:
        raise HypervisorError(f"QEMU gave up committing the overlay of {target}")
    return disk.get("ready") == "yes"
