"""An exported domain definition, checked and adapted to this host.

A manifest is not to be trusted: what a definition may say that reaches into the host (devices,
files, QEMU arguments) is limited to what fuel-devops's environments have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

from ..errors import FormatError
from ..manifest import document
from ..snapshot.domain_xml import parse, serialise

_CHILDREN = frozenset(
    "name uuid title description metadata memory currentMemory maxMemory memoryBacking vcpu vcpus "
    "cputune iothreads resource sysinfo os features cpu clock on_poweroff on_reboot on_crash pm "
    "devices seclabel".split()
)
_DEVICES = frozenset(
    "emulator disk controller interface serial console channel input graphics audio sound video "
    "memballoon rng watchdog panic hub".split()
)
_DOMAIN_TYPES = frozenset(("qemu", "kvm"))


@dataclass(frozen=True)
class CheckedDefinition:
    """A definition with nothing in it that could reach into the host."""

    name: str
    uuid: str
    type: str
    architecture: str
    root: etree._Element


def check_definition(node: document.Node) -> CheckedDefinition:
    """Refuse what an environment of fuel-devops never has.

    :raises FormatError: naming the element
    """
    return _check(node.name, parse(node.domain_xml))


def _check(node: str, root: etree._Element) -> CheckedDefinition:
    kind, name, uuid = root.get("type", ""), root.findtext("name"), root.findtext("uuid")
    if root.tag != "domain" or kind not in _DOMAIN_TYPES or not name or not uuid:
        raise FormatError(f"node {node!r} has no usable domain definition")
    _only(node, root, _CHILDREN)
    devices = root.find("devices")
    if devices is not None:
        _only(node, devices, _DEVICES)
    for disk in root.findall("./devices/disk"):
        if disk.get("type") != "file":
            raise FormatError(f"node {node!r} has a disk of type {disk.get('type')!r}, not file")
    for interface in root.findall("./devices/interface"):
        if interface.get("type") != "network":
            raise FormatError(f"node {node!r} has an interface of type {interface.get('type')!r}")
    for tag in ("serial", "console", "channel"):
        for device in root.findall(f"./devices/{tag}"):
            if device.get("type") not in ("pty", "unix", "spicevmc"):
                raise FormatError(f"node {node!r} has a {tag} of type {device.get('type')!r}")
    for path in ("os/kernel", "os/initrd", "os/loader", "os/nvram"):
        if root.find(path) is not None:
            raise FormatError(f"node {node!r} boots from a file of the host ({path})")
    machine = root.find("os/type")
    architecture = "" if machine is None else machine.get("arch", "")
    return CheckedDefinition(name, uuid, kind, architecture, root)


def _only(node: str, element: etree._Element, allowed: frozenset[str]) -> None:
    for child in element:
        if child.tag not in allowed:
            raise FormatError(
                f"the definition of node {node!r} has <{child.tag}>, "
                "which no environment of fuel-devops has"
            )


def adapt(root: etree._Element, *, paths: Mapping[str, str], emulator: str) -> None:
    """Change, in place, what belongs to the host: files and emulator.

    :param paths: path of a file on the exporting host to its path here
    :raises FormatError: a disk stands on a file that was not exported
    """
    for program in root.iter("emulator"):
        program.text = emulator
    for label in root.findall(".//seclabel"):
        parent = label.getparent()
        if parent is not None:
            parent.remove(label)
    for disk in root.findall("./devices/disk"):
        _move_disk(disk, paths)


def _move_disk(disk: etree._Element, paths: Mapping[str, str]) -> None:
    for stale in disk.findall("backingStore") + disk.findall("mirror"):
        disk.remove(stale)
    source = disk.find("source")
    if source is None:
        return
    path = source.get("file", "")
    if path not in paths:
        raise FormatError(f"a disk stands on {path!r}, which is not in the export")
    source.attrib.clear()
    source.set("file", paths[path])


def adapt_snapshot(
    snapshot: document.Snapshot,
    *,
    node: str,
    paths: Mapping[str, str],
    emulator: str,
    unexported: str,
) -> str:
    """The snapshot's metadata for this host.

    :param unexported: directory for the overlay that was active on the exporting host: it was not
        exported, and reverting puts a fresh one in its place
    :raises FormatError: as :func:`check_definition` and :func:`adapt`
    """
    root = parse(snapshot.xml)
    for tag in ("domain", "inactiveDomain"):
        for definition in root.findall(tag):
            copy = parse(etree.tostring(definition))
            copy.tag = "domain"
            _check(node, copy)
            adapt(definition, paths=paths, emulator=emulator)
    for source in root.findall("./disks/disk/source"):
        path = source.get("file", "")
        source.attrib.clear()
        source.set("file", paths.get(path) or f"{unexported}/{path.rpartition('/')[2]}")
    memory = root.find("memory")
    if memory is not None and memory.get("file") is not None:
        path = memory.get("file", "")
        if path not in paths:
            raise FormatError(
                f"snapshot {snapshot.name!r} has its memory in {path!r}, not exported"
            )
        memory.set("file", paths[path])
    return serialise(root)
