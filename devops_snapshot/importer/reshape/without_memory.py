"""Disks without memory: guests boot, on hosts that could not bring their memory back.

What only memory demands goes: the version of the machine, and a CPU that has to be the same. Disks
are as after a power cut, unless the guest was off.
"""

from __future__ import annotations

import re

from lxml import etree

from ...hypervisor import RunState
from ...manifest.document import FileRole, Manifest, Node
from ...snapshot.metadata import DISK_ONLY
from .parts import with_definitions, with_nodes

_MACHINES = (
    (re.compile(r"pc-q35-.*"), "q35"),
    (re.compile(r"pc-.*|rhel.*"), "pc"),
    (re.compile(r"(virt|pseries|s390-ccw-virtio)-.*"), r"\1"),
)
"""Versions of a machine; what stands for each is QEMU's own name for the newest it has."""

_EVERYWHERE = re.compile(r"(qemu|kvm)(32|64)")
"""CPUs that every x86 host can be."""

_THE_HOST = ("host-model", "host-passthrough", "maximum")


def without_memory(manifest: Manifest) -> Manifest:
    """All snapshots are of disks only, and no definition asks for what just the old host has."""
    files = tuple(file for file in manifest.files if file.role is not FileRole.MEMORY)
    return with_nodes(manifest.model_copy(update={"files": files}), _of_node)


def _of_node(node: Node) -> Node:
    return with_definitions(node, definition=_for_any_host, snapshot=_of_disks_only)


def _of_disks_only(root: etree._Element) -> None:
    """Of an internal snapshot the memory stays in the image; libvirt leaves it there."""
    parts = [*root.findall("memory"), *root.findall("./disks/disk")]
    internal = any(part.get("snapshot") == "internal" for part in parts)
    for memory in root.findall("memory"):
        memory.set("snapshot", "no")
        memory.attrib.pop("file", "")
    _drop(root, "cookie")  # the CPU that the memory was of
    for state in root.findall("state"):
        if state.text != RunState.SHUTOFF.value:
            state.text = RunState.SHUTOFF.value if internal else DISK_ONLY


def _for_any_host(root: etree._Element) -> None:
    for system in root.iterfind("os/type[@machine]"):
        system.set("machine", newest(system.get("machine", "")))
    for cpu in root.findall("cpu"):
        ease_cpu(cpu)


def newest(machine: str) -> str:
    """The name by which any QEMU knows its newest machine of that kind."""
    for versions, name in _MACHINES:
        found = versions.fullmatch(machine)
        if found:
            return found.expand(name)
    return machine


def ease_cpu(cpu: etree._Element) -> None:
    """Let a CPU be one that any host can be.

    What the guest counts (topology, NUMA) stays; the model becomes one that the host has.
    """
    for tag in ("feature", "vendor", "maxphysaddr"):
        _drop(cpu, tag)
    model = cpu.find("model")
    if cpu.get("mode") in _THE_HOST:
        _drop(cpu, "model")
    elif model is not None and _EVERYWHERE.fullmatch(model.text or ""):
        cpu.set("check", "none")  # libvirt's qemu64 has svm, which no Intel CPU has
    elif model is not None:
        _drop(cpu, "model")
        cpu.set("mode", "host-model")
        for demand in ("match", "check"):
            cpu.attrib.pop(demand, "")


def _drop(parent: etree._Element, tag: str) -> None:
    for element in parent.findall(tag):
        parent.remove(element)
