"""Saving the memory of guests that stand still."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress

import libvirt
from lxml import etree

from ..connection import open_connection
from ..hypervisor import RunState, asking, domain_of, is_postmigrate
from ..interrupts import Interrupts
from . import pool
from .domain_xml import serialise
from .freeze import awake
from .plan import NodePlan
from .undo import Undo

_WORKERS = 8
_POLL = 0.1  # seconds between two looks whether the user wants to stop


def save_memories(plans: Sequence[NodePlan], undo: Undo, interrupts: Interrupts) -> None:
    """Save all that is not saved yet, in parallel; the first failure ends it for all."""
    to_save = [plan for plan in plans if plan.memory_path and not plan.memory_is_saved]
    for plan in to_save:
        undo.later(_forget, plan)
    with ThreadPoolExecutor(max_workers=_WORKERS) as workers:
        futures = [workers.submit(_save, plan) for plan in to_save]
        try:
            _wait(futures, interrupts)
        except BaseException:
            for future, plan in zip(futures, to_save, strict=True):
                if not future.cancel():
                    with suppress(libvirt.libvirtError):  # it has ended by itself
                        plan.domain.abortJob()
            raise


def _wait(futures: Sequence[Future[None]], interrupts: Interrupts) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_POLL, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        interrupts.heed()


def _save(plan: NodePlan) -> None:
    """A snapshot of memory only, over a connection of its own, unknown to libvirt's metadata."""
    if plan.state is RunState.PAUSED:
        _make_savable(plan)
    root = etree.Element("domainsnapshot")
    etree.SubElement(root, "memory", snapshot="external", file=str(plan.memory_path))
    disks = etree.SubElement(root, "disks")
    for target in plan.targets:
        etree.SubElement(disks, "disk", name=target, snapshot="no")
    with open_connection(plan.node.driver.connection_string) as connection:
        domain = domain_of(plan.node, connection)
        with asking(f"saving the memory of {domain.name()}"):
            domain.snapshotCreateXML(
                serialise(root), libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
            )


def _make_savable(plan: NodePlan) -> None:
    """A guest whose memory was saved already, into a file that is gone, must run for a moment."""
    if is_postmigrate(plan.domain):
        with awake(plan.domain):
            pass


def _forget(plan: NodePlan) -> None:
    """Remove the file, and all that could make it look as if it were still there."""
    pool.remove_file(plan.node.driver, str(plan.memory_path))
    if plan.state is RunState.PAUSED:
        _make_savable(plan)
