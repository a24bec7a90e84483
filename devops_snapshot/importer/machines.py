"""The domains of the environment, with libvirt's metadata of their snapshots."""

from __future__ import annotations

from typing import Any

import libvirt

from ..connection import switch_off
from ..hypervisor import asking
from ..manifest import document
from ..manifest.check import check_memory, definition_of
from ..snapshot.domain_xml import serialise
from ..snapshot.undo import Undo
from .domain import adapt, adapt_snapshot
from .plan import Plan


def define_machine(plan: Plan, node: document.Node, undo: Undo) -> None:
    """Define a node's domain and its snapshots; it is off.

    :raises FormatError: a memory state is that of another machine
    """
    definition = definition_of(node)
    hypervisor_for = plan.target.hypervisor
    adapt(definition.root, paths=plan.paths, hypervisor_for=hypervisor_for)
    with asking(f"defining domain {definition.name}"):
        domain = plan.target.conn.defineXML(serialise(definition.root))
    undo.later(remove_domain, domain)
    for snapshot in node.snapshots:
        if snapshot.memory is not None:
            _check_memory(plan, node, snapshot)
        xml = adapt_snapshot(
            snapshot,
            paths=plan.paths,
            hypervisor_for=hypervisor_for,
            directory=plan.target.directory,
        )
        with asking(f"recording snapshot {snapshot.name!r} of {definition.name}"):
            domain.snapshotCreateXML(xml, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE)


def _check_memory(plan: Plan, node: document.Node, snapshot: document.Snapshot) -> None:
    path = plan.paths[str(snapshot.memory)]
    with asking(f"reading the domain in {path}"):
        xml = plan.target.conn.saveImageGetXMLDesc(path, libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE)
    check_memory(node, snapshot, xml)


def remove_domain(domain: Any) -> None:
    """Whatever it is doing, and with its snapshots' metadata."""
    with asking(f"removing domain {domain.name()}"):
        switch_off(domain)
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
