"""A checked definition or snapshot, adapted to this host."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lxml import etree

from ..devops.libvirt.hypervisor import Hypervisor
from ..errors import FormatError
from ..manifest import document
from ..manifest.definition import architecture_of
from ..snapshot.domain_xml import parse, serialise
from .reshape import ease_cpu

HypervisorFor = Callable[[str, str], Hypervisor]
"""What runs guests of an architecture and a type here: :meth:`~.target.Target.hypervisor`."""

_OF_KVM = (
    "features/kvm",
    "features/hyperv",
    "clock/timer[@name='kvmclock']",
    "clock/timer[@name='hypervclock']",
)


def adapt(root: etree._Element, *, paths: Mapping[str, str], hypervisor_for: HypervisorFor) -> None:
    """Change, in place, what belongs to the host: files, emulator, sockets, cgroup, labels.

    :param root: ``<domain>``, checked by :func:`~..manifest.check.check_manifest`
    :param paths: path of a file on the exporting host to its path here
    :raises HypervisorError: nothing here runs such guests
    """
    hypervisor = hypervisor_for(architecture_of(root), root.get("type", ""))
    if hypervisor.type != root.get("type"):
        _emulate(root, hypervisor)
    _set_emulator(root, hypervisor.emulator)
    for tag in ("seclabel", "resource", "metadata", "devices/interface/target"):
        _drop(root, tag)
    for device in ("serial", "console", "channel"):
        _drop(root, f"devices/{device}/source")
    for disk in root.findall("devices/disk"):
        _move_disk(disk, paths)


def _emulate(root: etree._Element, hypervisor: Hypervisor) -> None:
    """Take away what only KVM has."""
    root.set("type", hypervisor.type)
    for place in _OF_KVM:
        _drop(root, place)
    for cpu in root.findall("cpu"):
        ease_cpu(cpu)
        if cpu.get("mode") == "host-passthrough":
            cpu.set("mode", hypervisor.host_cpu_mode)


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
    snapshot: document.Snapshot,
    *,
    paths: Mapping[str, str],
    hypervisor_for: HypervisorFor,
    directory: Path,
) -> str:
    """The snapshot's metadata for this host.

    :param directory: of the storage pool. The overlay that was active on the exporting host was
        not exported; reverting puts a fresh one in its place
    :raises FormatError: that overlay has no name of its own
    """
    root = parse(snapshot.xml)
    for tag in ("domain", "inactiveDomain"):
        for definition in root.findall(tag):
            adapt(definition, paths=paths, hypervisor_for=hypervisor_for)
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
