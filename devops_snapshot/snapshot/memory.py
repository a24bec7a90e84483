"""Saving the memory of guests that stand still."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import libvirt
from lxml import etree

from ..connection import open_connection
from ..hypervisor import RunState, asking, domain_of, is_postmigrate
from ..interrupts import Interrupts
from . import pool
from .domain_xml import serialise
from .freeze import awake
from .parallel import for_all
from .plan import NodePlan
from .saved import about_to_save, was_saved
from .undo import Undo


def save_memories(plans: Sequence[NodePlan], undo: Undo, interrupts: Interrupts) -> None:
    """Save all that is not saved yet, in parallel; the first failure ends it for all."""
    to_save = [plan for plan in plans if plan.memory_path and not plan.memory_is_saved]
    for plan in to_save:
        undo.later(_forget, plan)
    # The URIs come from the database, which is not for the threads.
    jobs = [(plan, plan.node.driver.connection_string) for plan in to_save]
    for_all(jobs, _save, heed=interrupts.heed, give_up=_abort)


def _abort(job: tuple[NodePlan, str]) -> None:
    with suppress(libvirt.libvirtError):  # it has ended by itself
        job[0].domain.abortJob()


def _save(job: tuple[NodePlan, str]) -> None:
    """A snapshot of memory only, over a connection of its own, unknown to libvirt's metadata."""
    plan, uri = job
    if plan.state is RunState.PAUSED:
        _make_savable(plan)
    root = etree.Element("domainsnapshot")
    etree.SubElement(root, "memory", snapshot="external", file=str(plan.memory_path))
    disks = etree.SubElement(root, "disks")
    for target in plan.targets:
        etree.SubElement(disks, "disk", name=target, snapshot="no")
    with open_connection(uri) as connection:
        domain = domain_of(plan.node, connection)
        about_to_save(domain)
        with asking(f"saving the memory of {domain.name()}"):
            domain.snapshotCreateXML(
                serialise(root), libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
            )
        was_saved(domain, str(plan.memory_path))


def _make_savable(plan: NodePlan) -> None:
    """A guest whose memory was saved already, into a file that is gone, must run for a moment."""
    if is_postmigrate(plan.domain):
        with awake(plan.domain):
            pass


def _forget(plan: NodePlan) -> None:
    pool.remove_file(plan.node.driver, str(plan.memory_path))
