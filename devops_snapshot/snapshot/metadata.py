"""A node's snapshots as libvirt's metadata tells them, whoever made them.

libvirt's metadata is what fuel-devops, virsh and this project all read and write, so it is the
truth about which snapshots exist, how they descend from each other and on which files they stand.
Format: https://libvirt.org/formatsnapshot.html
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import libvirt
from lxml import etree

from ..errors import FormatError, NotFoundError
from ..hypervisor import RunState, asking
from .domain_xml import DomainDisk, disks_of, parse, serialise

DISK_ONLY = "disk-snapshot"
"""libvirt's word for the state of a guest whose memory was not saved."""


@dataclass(frozen=True)
class SnapshotMetadata:
    """One ``<domainsnapshot>``.

    :param created: aware UTC
    :param state: what the guest was doing; ``shutoff`` also for disk-only snapshots
    :param memory_path: file of an external memory state
    :param internal: disk (and memory) state lies inside the qcow2 files
    :param disk_only: taken without the memory of a guest that was running
    :param overlays: disk target to the file that was put on top, external snapshots only
    :param frozen: the disks as they were: ``path`` is the layer that the snapshot names
    :param xml: the whole document
    """

    name: str
    parent: str | None
    description: str
    created: datetime.datetime
    state: RunState
    memory_path: str | None
    internal: bool
    disk_only: bool
    overlays: dict[str, str]
    frozen: tuple[DomainDisk, ...]
    xml: str = field(repr=False)

    @property
    def told_state(self) -> str:
        """The state in words for users and records."""
        return "disk-only" if self.disk_only else self.state.value

    @property
    def definition(self) -> etree._Element:
        """The domain to define again for this snapshot: the persistent one if it was recorded."""
        root = parse(self.xml)
        found = root.find("inactiveDomain")
        if found is None:
            found = root.find("domain")
        assert found is not None, "parse_snapshot() has seen it"
        copy = parse(etree.tostring(found))
        copy.tag = "domain"
        return copy

    @property
    def snapshotted(self) -> tuple[DomainDisk, ...]:
        """The frozen disks that the snapshot covers: not cdroms, not read-only ones."""
        if self.internal:
            return tuple(disk for disk in self.frozen if disk.writable)
        return tuple(disk for disk in self.frozen if disk.target in self.overlays)

    @property
    def copied(self) -> tuple[DomainDisk, ...]:
        """The disks that no overlay can be put on, each on the copy that was made of it."""
        return () if self.internal else tuple(d for d in self.frozen if d.shared and d.path)

    @property
    def held(self) -> tuple[DomainDisk, ...]:
        """All whose files must stay as they are."""
        return self.snapshotted + self.copied


def parse_snapshot(xml: str) -> SnapshotMetadata:
    """Read a ``<domainsnapshot>`` document.

    :raises FormatError: an element that every snapshot has is missing
    """
    root = parse(xml)
    domain = root.find("domain")
    name = root.findtext("name")
    if root.tag != "domainsnapshot" or domain is None or not name:
        raise FormatError("a snapshot without name or domain definition")
    memory = root.find("memory")
    return SnapshotMetadata(
        name=name,
        parent=root.findtext("parent/name"),
        description=root.findtext("description") or "",
        created=_time(root.findtext("creationTime") or "0"),
        state=_state(root.findtext("state") or "shutoff"),
        memory_path=None if memory is None else memory.get("file"),
        internal=_is_internal(root),
        disk_only=root.findtext("state") == DISK_ONLY,
        overlays=_overlays(root),
        frozen=disks_of(domain),
        xml=xml,
    )


def _time(text: str) -> datetime.datetime:
    try:
        return datetime.datetime.fromtimestamp(int(text), datetime.timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise FormatError(f"{text!r} is no time at which a snapshot was taken") from error


def _is_internal(root: etree._Element) -> bool:
    """Whether any state lies inside an image; that of a node without disks, when off, does not."""
    parts = [*root.findall("memory"), *root.findall("./disks/disk")]
    return any(part.get("snapshot") == "internal" for part in parts)


def _state(word: str) -> RunState:
    """A disk-only snapshot has no memory to come back to: for us, it is shut off."""
    known = {state.value: state for state in RunState}
    return known.get(word, RunState.SHUTOFF)


def _overlays(root: etree._Element) -> dict[str, str]:
    found = {}
    for disk in root.findall("./disks/disk"):
        source = disk.find("source")
        if disk.get("snapshot") in ("external", "manual") and source is not None:
            found[disk.get("name", "")] = source.get("file", "")
    return found


def snapshots_of(domain: Any) -> dict[str, SnapshotMetadata]:
    """All snapshots of a domain by name, parents before children."""
    with asking(f"listing the snapshots of {domain.name()}"):
        documents = [
            snapshot.getXMLDesc(libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE)
            for snapshot in domain.listAllSnapshots(libvirt.VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL)
        ]
    parsed = [parse_snapshot(document) for document in documents]
    return {snapshot.name: snapshot for snapshot in parsed}


def current_snapshot(domain: Any) -> str | None:
    """The name of the snapshot that "now" descends from."""
    with asking(f"asking for the current snapshot of {domain.name()}"):
        if not domain.hasCurrentSnapshot():
            return None
        return str(domain.snapshotCurrent().getName())


def snapshot_named(domain: Any, name: str) -> SnapshotMetadata:
    """One snapshot.

    :raises NotFoundError: naming those that are there
    """
    snapshots = snapshots_of(domain)
    if name not in snapshots:
        there = ", ".join(snapshots) or "none"
        raise NotFoundError(f"domain {domain.name()} has no snapshot {name!r}; it has: {there}")
    return snapshots[name]


def with_ancestors(snapshots: dict[str, SnapshotMetadata], names: set[str]) -> list[str]:
    """The names and all they descend from, parents before children."""
    wanted: set[str] = set()
    for name in names:
        step: str | None = name
        while step is not None and step in snapshots and step not in wanted:
            wanted.add(step)
            step = snapshots[step].parent
    return [name for name in snapshots if name in wanted]


def with_descendants(snapshots: dict[str, SnapshotMetadata], name: str) -> list[str]:
    """The name and all that descend from it, parents before children."""
    wanted = {name}
    for snapshot in snapshots.values():  # parents come first
        if snapshot.parent in wanted:
            wanted.add(snapshot.name)
    return [snapshot for snapshot in snapshots if snapshot in wanted]


def build_snapshot(
    *,
    name: str,
    description: str,
    parent: str | None,
    created: int,
    state: str,
    memory_path: str | None,
    overlays: dict[str, str],
    domain: etree._Element,
    inactive: etree._Element,
) -> str:
    """The ``<domainsnapshot>`` of an external snapshot, to be given to libvirt with REDEFINE.

    :param created: seconds since the epoch
    :param state: in libvirt's words: a :class:`RunState`'s value or :data:`DISK_ONLY`
    :param domain: the ``<domain>`` whose disks still stand on the layers that were frozen
    :param inactive: the persistent ``<domain>`` of the same moment
    """
    root = etree.Element("domainsnapshot")
    etree.SubElement(root, "name").text = name
    if description:
        etree.SubElement(root, "description").text = description
    etree.SubElement(root, "state").text = state
    if parent is not None:
        etree.SubElement(etree.SubElement(root, "parent"), "name").text = parent
    etree.SubElement(root, "creationTime").text = str(created)
    if memory_path is None:
        etree.SubElement(root, "memory", snapshot="no")
    else:
        etree.SubElement(root, "memory", snapshot="external", file=memory_path)
    disks = etree.SubElement(root, "disks")
    for disk in disks_of(domain):
        disks.append(_disk_element(disk.target, overlays.get(disk.target)))
    root.append(parse(etree.tostring(domain)))
    if not overlays and memory_path is None:
        _excuse_disks(root)
    persistent = parse(etree.tostring(inactive))
    persistent.tag = "inactiveDomain"
    root.append(persistent)
    return serialise(root)


def _excuse_disks(root: etree._Element) -> None:
    """Where no part is external, libvirt asks for internal ones, unless the disks have said no."""
    for disk in root.iterfind("./domain/devices/disk"):
        disk.set("snapshot", "no")


def with_files(xml: str, *, overlays: dict[str, str], memory_path: str | None = None) -> str:
    """The snapshot with other overlays (a revert made fresh ones) or another memory file."""
    root = parse(xml)
    for disk in root.findall("./disks/disk"):
        source = disk.find("source")
        if source is not None and disk.get("name") in overlays:
            source.set("file", overlays[str(disk.get("name"))])
    memory = root.find("memory")
    if memory is not None and memory_path is not None:
        memory.set("file", memory_path)
    return serialise(root)


def with_files_renamed(xml: str, renamed: Mapping[str, str]) -> str:
    """The snapshot after layers were merged: what was at one path is at another now."""
    root = parse(xml)
    for source in root.iterfind(".//source[@file]"):
        source.set("file", renamed.get(source.get("file", ""), source.get("file", "")))
    return serialise(root)


def with_parent(xml: str, parent: str | None) -> str:
    """The snapshot as a child of another, or of none."""
    root = parse(xml)
    for stale in root.findall("parent"):
        root.remove(stale)
    if parent is not None:
        etree.SubElement(etree.SubElement(root, "parent"), "name").text = parent
    return serialise(root)


def _disk_element(target: str, overlay: str | None) -> etree._Element:
    if overlay is None:
        return etree.Element("disk", name=target, snapshot="no")
    element = etree.Element("disk", name=target, snapshot="external", type="file")
    etree.SubElement(element, "driver", type="qcow2")
    etree.SubElement(element, "source", file=overlay)
    return element
