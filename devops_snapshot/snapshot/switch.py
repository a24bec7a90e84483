"""Putting the disks of a node on their overlays, and back."""

from __future__ import annotations

from collections.abc import Sequence

import libvirt
from lxml import etree

from ..hypervisor import RunState, asking
from ..interrupts import heed_nothing
from ..progress import Quiet
from .block_jobs import commit_active
from .domain_xml import serialise
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
                commit_active(plan.domain, overlay.target, None, Quiet(), heed_nothing)
    with asking(f"defining {plan.domain.name()} as it was"):
        plan.node.driver.conn.defineXML(serialise(plan.inactive))
