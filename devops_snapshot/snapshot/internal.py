"""Internal snapshots, inside the qcow2 files: libvirt alone takes, reverts and deletes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import libvirt
from lxml import etree

from ..errors import ConflictError
from ..hypervisor import RunState, asking, run_state
from .domain_xml import disks_of, parse, serialise
from .metadata import SnapshotMetadata, snapshots_of
from .undo import Undo


def states_before(domains: Mapping[str, Any]) -> dict[str, RunState]:
    """What each node is doing now.

    :raises ConflictError: one has external snapshots: an internal one would stand on them
    """
    for domain in domains.values():
        if any(not snapshot.internal for snapshot in snapshots_of(domain).values()):
            raise ConflictError(
                f"{domain.name()} has external snapshots, on which no internal one can stand",
                hint="Unset SNAPSHOTS_EXTERNAL, or set it to true",
            )
    return {node: run_state(domain) for node, domain in domains.items()}


def take(domain: Any, name: str, description: str, undo: Undo) -> None:
    """Snapshot one domain."""
    root = etree.Element("domainsnapshot")
    etree.SubElement(root, "name").text = name
    if description:
        etree.SubElement(root, "description").text = description
    with asking(f"taking the internal snapshot {name!r} of {domain.name()}"):
        snapshot = domain.snapshotCreateXML(serialise(root), 0)
    undo.later(snapshot.delete, 0)


def revert(domain: Any, snapshot: SnapshotMetadata) -> None:
    """Take one domain, which is off, back; a guest that was on is paused then."""
    flags = 0
    if snapshot.state is not RunState.SHUTOFF:
        flags = libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_PAUSED
    with asking(f"reverting {domain.name()} to snapshot {snapshot.name!r}"):
        domain.revertToSnapshot(domain.snapshotLookupByName(snapshot.name), flags)


def check_uncovered(domain: Any, snapshot: SnapshotMetadata, *, hint: str) -> None:
    """Refuse to touch an internal snapshot whose image has overlays on it by now.

    libvirt would do it without a word, and rewrite what they stand on.

    :raises ConflictError: naming the image
    """
    with asking(f"reading the definition of {domain.name()}"):
        now = {disk.target: disk.path for disk in disks_of(parse(domain.XMLDesc(0)))}
    others = [other for other in snapshots_of(domain).values() if not other.internal]
    covered = {disk.path for other in others for disk in other.snapshotted}
    for disk in snapshot.snapshotted:
        if now.get(disk.target) != disk.path or disk.path in covered:
            raise ConflictError(
                f"snapshot {snapshot.name!r} of {domain.name()} lies inside {disk.path}, "
                "on which external snapshots stand by now",
                hint=hint,
            )
