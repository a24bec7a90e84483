"""Whether this host can run such guests, and let them go on from memory."""

from __future__ import annotations

from collections.abc import Iterator

import libvirt

from ...devops.libvirt.hypervisor import Hypervisor
from ...errors import HypervisorError
from ...hypervisor import asking
from ...manifest.definition import Definition
from ...manifest.document import Node, Snapshot
from ...snapshot.domain_xml import parse, serialise
from ..findings import Finding, Verdict
from .scene import Scene

_DISKS_ONLY = "--disks-only leaves memory behind: guests boot from their disks"

_MAKE_KVM_WORK = "Load the KVM module and enable virtualisation in the firmware"

_OPTIONS = ("--disks-only",)


def check_machine(scene: Scene) -> Iterator[Finding]:
    """Emulator and machine type of every node; its CPU where memory comes along."""
    for node in scene.manifest.environment.nodes:
        definition = scene.definitions[node.name]
        architecture = definition.architecture
        try:
            hypervisor = scene.target.hypervisor(architecture, definition.type)
        except HypervisorError as error:
            remedy = f"Install QEMU for {architecture}"
            yield Finding("emulator", Verdict.BLOCKING, error.message, remedy)
            continue
        yield from _check_kvm(scene, node, definition)
        yield from _check_type(scene, node, definition, hypervisor)
        yield from _check_cpu(scene, node, definition, hypervisor)


def check_versions(scene: Scene) -> Iterator[Finding]:
    """Memory travels to newer versions; the other way QEMU decides when it reads it."""
    exported = scene.manifest.host
    with asking("asking for versions"):
        here = (scene.target.conn.getLibVersion(), scene.target.conn.getVersion())
    for what, there, ours in (
        ("libvirt", exported.libvirt_version, here[0]),
        ("QEMU", exported.qemu_version, here[1]),
    ):
        told = f"{what} {_dotted(ours)} here, {_dotted(there)} where it was exported"
        if scene.has_memory and ours < there:
            remedy = f"If a guest does not come back: {_DISKS_ONLY}"
            yield Finding("versions", Verdict.NOTE, told, remedy)
        else:
            yield Finding("versions", Verdict.FINE, told)


def _check_kvm(scene: Scene, node: Node, definition: Definition) -> Iterator[Finding]:
    """Disks go on in QEMU's emulation, but no memory of KVM does."""
    wants_kvm = [definition.type == "kvm", *map(_is_memory_of_kvm, node.snapshots)]
    reason = scene.target.kvm_failure(definition.architecture) if any(wants_kvm) else ""
    if not reason:
        return
    what = f"node {node.name!r} ran in KVM, which does not work here: {reason}"
    if any(map(_is_memory_of_kvm, node.snapshots)):
        remedy = f"{_MAKE_KVM_WORK}; {_DISKS_ONLY}, slowly without KVM"
        yield Finding("emulator", Verdict.AVOIDABLE, what, remedy, _OPTIONS)
    else:
        remedy = f"It is emulated here, slowly. {_MAKE_KVM_WORK}, and import it again"
        yield Finding("emulator", Verdict.NOTE, what, remedy)


def _is_memory_of_kvm(snapshot: Snapshot) -> bool:
    """Whether a file, or the image, has memory of a guest that ran in KVM."""
    domain = parse(snapshot.xml).find("domain")
    has_memory = snapshot.memory or (snapshot.internal and snapshot.state != "shutoff")
    return bool(has_memory) and domain is not None and domain.get("type") == "kvm"


def _check_type(
    scene: Scene, node: Node, definition: Definition, hypervisor: Hypervisor
) -> Iterator[Finding]:
    machine = definition.root.find("os/type").get("machine")  # type: ignore[union-attr] # checked
    try:
        scene.target.conn.getDomainCapabilities(
            hypervisor.emulator, definition.architecture, machine, hypervisor.type
        )
    except libvirt.libvirtError as error:
        what = f"node {node.name!r} is of machine type {machine}: {error.get_error_message()}"
        if scene.choices.disks_only:  # and the newest machine of its kind is asked for
            yield Finding("machine type", Verdict.BLOCKING, what, "Install a QEMU that has it")
        else:
            yield Finding("machine type", Verdict.AVOIDABLE, what, _DISKS_ONLY, _OPTIONS)


def _check_cpu(
    scene: Scene, node: Node, definition: Definition, hypervisor: Hypervisor
) -> Iterator[Finding]:
    machine = definition.root.find("os/type").get("machine")  # type: ignore[union-attr] # checked
    for snapshot in node.snapshots:
        cpu = parse(snapshot.xml).find("domain/cpu")
        if not snapshot.memory or cpu is None or cpu.get("mode", "custom") != "custom":
            continue  # what the host has, whatever it is: only QEMU can tell
        try:
            fits = scene.target.conn.compareHypervisorCPU(
                hypervisor.emulator,
                definition.architecture,
                machine,
                hypervisor.type,
                serialise(cpu),
                0,
            )
        except libvirt.libvirtError:  # a machine type that is not there, told already
            return
        if fits == libvirt.VIR_CPU_COMPARE_INCOMPATIBLE:
            what = f"node {node.name!r} at {snapshot.name!r} has a CPU that this host lacks"
            model = cpu.findtext("model")
            told = f"{what}: {model}" if model else what
            yield Finding("CPU", Verdict.AVOIDABLE, told, _DISKS_ONLY, _OPTIONS)
            return


def _dotted(version: int) -> str:
    return f"{version // 1000000}.{version // 1000 % 1000}.{version % 1000}"
