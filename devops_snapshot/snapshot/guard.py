"""Snapshot metadata that libvirt's own commands cannot do harm with.

The metadata that makes ``virsh snapshot-list`` work also arms ``virsh snapshot-delete``: libvirt
takes its own picture of the layers for the whole, commits one into another and unlinks it, whatever
else stands on them. So every external disk is marked as "the target of a snapshot delete that was
not completed", libvirt's own mark for a snapshot that it must not delete: ``virsh snapshot-delete``
then refuses and changes nothing (libvirt 9.0: tried; later ones: ``qemu_snapshot.c``). Deleting the
metadata alone, which fuel-devops does, works as before.

From 9.9 libvirt can revert to external snapshots, and then unlinks what the *current* one says the
guest writes to: ``<revertDisks>`` where it is there, else the overlays of ``<disks>``, which may be
layers that other snapshots stand on. So ``<revertDisks>`` is written for it.
"""

from __future__ import annotations

from lxml import etree

from .domain_xml import parse, serialise

MARK = "snapshotDeleteInProgress"
FIRST_THAT_REVERTS = 9_009_000
"""libvirt's version, as ``getLibVersion`` gives it, that reverts external snapshots."""


def guarded(xml: str, *, libvirt_version: int) -> str:
    """The document with its external disks marked; one without any comes back as it is.

    The chains (``<backingStore>``) of its definitions are dropped: once layers are merged they are
    wrong, and QEMU believes them.
    """
    root = parse(xml)
    external = root.findall("./disks/disk[@snapshot='external']")
    if not external:
        return xml
    for disk in external:
        if disk.find(MARK) is None:
            disk.append(etree.Element(MARK))
    for tag in ("domain", "inactiveDomain"):
        for disk in root.findall(f"./{tag}/devices/disk"):
            for stale in disk.findall("backingStore") + disk.findall("mirror"):
                disk.remove(stale)
    if libvirt_version >= FIRST_THAT_REVERTS:
        _name_revert_disks(root, external)
    return serialise(root)


def _name_revert_disks(root: etree._Element, external: list[etree._Element]) -> None:
    """What the guest writes to while this snapshot is the current one."""
    for stale in root.findall("revertDisks"):
        root.remove(stale)
    parent = etree.SubElement(root, "revertDisks")
    for disk in external:
        copy = etree.fromstring(etree.tostring(disk))
        for mark in copy.findall(MARK):
            copy.remove(mark)
        parent.append(copy)


def is_guarded(xml: str) -> bool:
    """Whether libvirt would refuse to delete it, or has nothing to delete."""
    external = parse(xml).findall("./disks/disk[@snapshot='external']")
    return all(disk.find(MARK) is not None for disk in external)
