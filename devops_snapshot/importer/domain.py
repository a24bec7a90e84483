"""A checked definition or snapshot, adapted to this host."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lxml import etree

from ..errors import FormatError
from ..manifest import document
from ..snapshot.domain_xml import parse, serialise


def adapt(root: etree._Element, *, paths: Mapping[str, str], emulator: str) -> None:
    """Change, in place, what belongs to the host: files, emulator, sockets, cgroup, labels.

    :param root: ``<domain>``, checked by :func:`~..manifest.check.check_manifest`
    :param paths: path of a file on the exporting host to its path here
    """
    _set_emulator(root, emulator)
    for tag in ("seclabel", "resource", "metadata", "devices/interface/target"):
        _drop(root, tag)
    for device in ("serial", "console", "channel"):
        _drop(root, f"devices/{device}/source")
    for disk in root.findall("devices/disk"):
        _move_disk(disk, paths)


def _drop(root: etree._Element, path: str) -> None:
    for element in root.findall(path):
        parent = element.getparent()
        if parent is not None:
            parent.remove(element)


def _set_emulator(root: etree._Element, emulator: str) -> None:
    for devices in root.findall("devices"):
        for stale in devices.findall("emulator"):
            devices.remove(stale)
        program = etree.Element("emulator")
        program.text = emulator
        devices.insert(0, program)


def _move_disk(disk: etree._Element, paths: Mapping[str, str]) -> None:
    for stale in disk.findall("backingStore") + disk.findall("mirror"):
        disk.remove(stale)
    for source in disk.findall("source"):
        path = source.get("file")
        source.clear()
        if path is None:
            disk.remove(source)  # an empty drive
        else:
            source.set("file", paths[path])


def adapt_snapshot(
    snapshot: document.Snapshot, *, paths: Mapping[str, str], emulator: str, directory: Path
) -> str:
    """The snapshot's metadata for this host.

    :param directory: of the storage pool. The overlay that was active on the exporting host was
        not exported; reverting puts a fresh one in its place
    :raises FormatError: that overlay has no name of its own
    """
    root = parse(snapshot.xml)
    for tag in ("domain", "inactiveDomain"):
        for definition in root.findall(tag):
            adapt(definition, paths=paths, emulator=emulator)
    for source in root.findall("disks/disk/source"):
        path = source.get("file", "")
        source.clear()
        source.set("file", paths.get(path) or _unexported(directory, path))
    for stale in root.findall("revertDisks"):
        root.remove(stale)  # files of the exporting host; see snapshot.guard
    memory = root.find("memory")
    if memory is not None and memory.get("file") is not None:
        memory.set("file", paths[memory.get("file", "")])
    return serialise(root)


def _unexported(directory: Path, path: str) -> str:
    """Where the overlay would be here; libvirt's own delete unlinks what a snapshot names."""
    name = path.rpartition("/")[2]
    if name in ("", ".", "..") or not name.isprintable() or (directory / name).exists():
        raise FormatError(f"a snapshot names the overlay {path!r}, which is another's file here")
    return str(directory / name)
