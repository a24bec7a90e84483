"""From the rows of a node to the domain that is to be defined."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..models.network import Interface
from ..models.volume import DiskDevice
from .domain_xml import DiskSpec, DomainSpec, InterfaceSpec, NumaCell, Vnc
from .hypervisor import choose
from .network import LibvirtInterface, LibvirtL2NetworkDevice
from .volume import LibvirtDiskDevice, LibvirtVolume

if TYPE_CHECKING:
    from .node import LibvirtNode


def domain_spec(node: LibvirtNode) -> DomainSpec:
    """The node as libvirt is to have it.

    :raises HypervisorError: the host cannot run it
    :raises NotFoundError: a volume of it is not there
    """
    driver = node.driver
    hypervisor = choose(
        driver.connection_string, requested=node.hypervisor, architecture=node.architecture
    )
    return DomainSpec(
        name=node.domain_name,
        hypervisor=hypervisor.type,
        emulator=hypervisor.emulator,
        vcpu=node.vcpu,
        memory=node.memory,
        architecture=node.architecture,
        os_type=node.os_type,
        boot=tuple(node.boot),
        reboot_timeout=driver.reboot_timeout,
        bootmenu_timeout=node.bootmenu_timeout,
        cpu_mode=hypervisor.host_cpu_mode if driver.use_host_cpu else None,
        numa=tuple(NumaCell(str(cell["cpus"]), int(str(cell["memory"]))) for cell in node.numa),
        hugepages=driver.use_hugepages,
        acpi=driver.enable_acpi,
        hpet=driver.hpet,
        vnc=Vnc(driver.vnc_password) if node.has_vnc else None,
        video=node.has_videocard,
        disks=tuple(map(_disk, node.disk_devices)),
        interfaces=tuple(map(_interface, node.interfaces)),
    )


def _disk(row: DiskDevice) -> DiskSpec:
    disk = cast(LibvirtDiskDevice, row)
    volume = cast("LibvirtVolume | None", disk.volume)
    return DiskSpec(
        target=disk.target_dev or "",
        bus=disk.bus or "",
        device=disk.device or "",
        type=disk.type or "",
        format=volume.format if volume else "raw",
        path=volume.get_path() if volume else None,
        serial=volume.serial if volume else None,
        wwn=volume.wwn if volume and disk.multipath_enabled else None,
        shareable=volume is not None and volume.has_several_paths,
    )


def _interface(row: Interface) -> InterfaceSpec:
    interface = cast(LibvirtInterface, row)
    network = cast(LibvirtL2NetworkDevice, interface.l2_network_device)
    return InterfaceSpec(
        interface.mac_address,
        network.network_name,
        interface.model,
        nwfilter=None if interface.nwfilter is None else interface.nwfilter.name,
    )
