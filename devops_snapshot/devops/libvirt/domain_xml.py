"""A node's domain as libvirt's XML, with all that fuel-devops gives its domains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from .elements import E

KIB_PER_MIB = 1024


@dataclass(frozen=True)
class DiskSpec:
    """A disk or cdrom; ``path`` None is an empty drive.

    ``target`` is ``sda``, ``sdb`` ... whatever the bus, as fuel-devops has it. ``shareable`` is one
    of several paths to the same image, which QEMU locks otherwise; libvirt takes only raw ones.
    """

    target: str
    bus: str
    format: str
    path: str | None
    serial: str | None = None
    wwn: str | None = None
    device: str = "disk"
    type: str = "file"
    shareable: bool = False


@dataclass(frozen=True)
class InterfaceSpec:
    """A network card; ``network`` and ``nwfilter`` are names in libvirt."""

    mac: str
    network: str
    model: str | None = None
    nwfilter: str | None = None


@dataclass(frozen=True)
class NumaCell:
    """A NUMA node of the guest; ``cpus`` as libvirt writes them (``0-3,6``), ``memory`` in MiB."""

    cpus: str
    memory: int


@dataclass(frozen=True)
class Vnc:
    """A VNC display on all addresses, on a port that libvirt picks."""

    password: str | None = None


@dataclass(frozen=True)
class DomainSpec:
    """A domain to be defined.

    ``memory`` in MiB; ``hypervisor`` is ``kvm`` or ``qemu``; ``cpu_mode`` as in libvirt's
    ``<cpu mode>``, None leaves the choice to libvirt; ``reboot_timeout`` and ``bootmenu_timeout``
    in milliseconds, 0 or None leaves them out.
    """

    name: str
    hypervisor: str
    emulator: str
    vcpu: int = 1
    memory: int = 1024
    architecture: str = "x86_64"
    os_type: str = "hvm"
    boot: tuple[str, ...] = ()
    reboot_timeout: int | None = None
    bootmenu_timeout: int | None = None
    cpu_mode: str | None = None
    numa: tuple[NumaCell, ...] = ()
    hugepages: bool = False
    acpi: bool = False
    hpet: bool = True
    vnc: Vnc | None = None
    video: bool = True
    disks: tuple[DiskSpec, ...] = ()
    interfaces: tuple[InterfaceSpec, ...] = ()


def domain_xml(domain: DomainSpec) -> str:
    """What ``virConnect.defineXML`` takes."""
    root = E.domain(
        E.name(domain.name),
        E.memory(str(domain.memory * KIB_PER_MIB), unit="KiB"),
        E.vcpu(str(domain.vcpu)),
        _os(domain),
        _clock(hpet=domain.hpet),
        E.devices(*_devices(domain)),
        type=domain.hypervisor,
    )
    if domain.hugepages:
        root.append(E.memoryBacking(E.hugepages()))
    if domain.acpi:
        root.append(E.features(E.acpi()))
    if domain.cpu_mode or domain.numa:
        root.append(_cpu(domain))
    return etree.tostring(root, encoding="unicode")


def _os(domain: DomainSpec) -> etree._Element:
    element = E.os(E.type(domain.os_type, arch=domain.architecture))
    element.extend(E.boot(dev=device) for device in domain.boot)
    if domain.reboot_timeout:
        element.append(E.bios(rebootTimeout=str(domain.reboot_timeout)))
    if domain.bootmenu_timeout:
        element.append(E.bootmenu(enable="yes", timeout=str(domain.bootmenu_timeout)))
    return element


def _clock(*, hpet: bool) -> etree._Element:
    catchup = E.catchup(threshold="123", slew="120", limit="10000")
    return E.clock(
        E.timer(catchup, name="rtc", tickpolicy="catchup", track="wall"),
        E.timer(name="pit", tickpolicy="delay"),
        E.timer(name="hpet", present="yes" if hpet else "no"),
        offset="utc",
    )


def _cpu(domain: DomainSpec) -> etree._Element:
    cpu = E.cpu(mode=domain.cpu_mode) if domain.cpu_mode else E.cpu()
    if domain.numa:
        cells = (
            E.cell(cpus=cell.cpus, memory=str(cell.memory * KIB_PER_MIB), unit="KiB")
            for cell in domain.numa
        )
        cpu.append(E.numa(*cells))
    return cpu


def _devices(domain: DomainSpec) -> Iterator[etree._Element]:
    yield E.emulator(domain.emulator)
    yield E.controller(type="usb", model="nec-xhci")
    yield from map(_disk, domain.disks)
    yield from map(_interface, domain.interfaces)
    yield E.serial(E.target(port="0"), type="pty")
    yield E.console(E.target(type="serial", port="0"), type="pty")
    if domain.vnc is not None:
        yield _graphics(domain.vnc)
    if domain.video:
        yield E.video(E.model(type="vga", vram="9216", heads="1"))


def _disk(disk: DiskSpec) -> etree._Element:
    """Cache mode ``unsafe`` is fuel-devops's: the host's page cache, flushes ignored."""
    element = E.disk(
        E.driver(name="qemu", type=disk.format, cache="unsafe"), type=disk.type, device=disk.device
    )
    if disk.path is not None:
        element.append(E.source(file=disk.path))
    target = E.target(dev=disk.target, bus=disk.bus)
    element.append(target)
    if disk.bus == "usb":
        target.set("removable", "on")
        element.append(E.readonly())
    if disk.shareable:
        element.append(E.shareable())
    if disk.serial:
        element.append(E.serial(disk.serial))
    if disk.wwn:
        element.append(E.wwn(disk.wwn))
    return element


def _interface(interface: InterfaceSpec) -> etree._Element:
    element = E.interface(
        E.mac(address=interface.mac), E.source(network=interface.network), type="network"
    )
    if interface.model:
        element.append(E.model(type=interface.model))
    if interface.nwfilter:
        element.append(E.filterref(filter=interface.nwfilter))
    return element


def _graphics(vnc: Vnc) -> etree._Element:
    element = E.graphics(type="vnc", listen="0.0.0.0", autoport="yes")
    if vnc.password:
        element.set("passwd", vnc.password)
    return element
