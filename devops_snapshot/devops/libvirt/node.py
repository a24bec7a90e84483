"""Nodes: libvirt's domains."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, cast

import libvirt
from lxml import etree

from devops_snapshot.errors import NotFoundError

from ..models.network import Interface
from ..models.node import Node
from ..models.params import ParamField, registered
from ..models.volume import DiskDevice, Volume
from . import memory_files, names, support
from .connection import find_domain
from .domain_xml import DiskSpec, DomainSpec, InterfaceSpec, NumaCell, Vnc, domain_xml
from .driver import MODULE, LibvirtDriver
from .hypervisor import choose
from .network import LibvirtL2NetworkDevice
from .volume import LibvirtVolume

State = Literal["running", "paused", "shutoff"]

STATES: dict[int, State] = {
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "running",
    libvirt.VIR_DOMAIN_SHUTDOWN: "running",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "paused",
}
"""All others are off."""

UNDEFINE_ALL = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


@registered(f"{MODULE}:LibvirtNode")
class LibvirtNode(Node):
    """A domain of libvirt's: ``memory`` in MiB, ``bootmenu_timeout`` in milliseconds."""

    uuid: ParamField[str | None] = ParamField(None)
    hypervisor: ParamField[str] = ParamField("kvm", choices=("kvm", "test", "qemu"))
    os_type: ParamField[str] = ParamField("hvm", choices=("hvm",))
    architecture: ParamField[str] = ParamField("x86_64", choices=("x86_64", "i686"))
    boot: ParamField[list[str]] = ParamField(["network", "cdrom", "hd"])
    vcpu: ParamField[int] = ParamField(1)
    memory: ParamField[int] = ParamField(1024)
    has_vnc: ParamField[bool] = ParamField(True)
    has_videocard: ParamField[bool] = ParamField(True)
    bootmenu_timeout: ParamField[int] = ParamField(0)
    numa: ParamField[list[dict[str, object]]] = ParamField([])
    cloud_init_volume_name: ParamField[str | None] = ParamField(None)
    cloud_init_iface_up: ParamField[str | None] = ParamField(None)
    bmc_network: ParamField[bool] = ParamField(False)
    bmc_user: ParamField[str] = ParamField("admin")
    bmc_password: ParamField[str] = ParamField("r00tme")
    bmc_port: ParamField[int | None] = ParamField(None)

    class Meta:
        proxy = True

    @property
    def driver(self) -> LibvirtDriver:
        driver: LibvirtDriver = super().driver
        return driver

    @property
    def domain_name(self) -> str:
        """What the domain is called in libvirt."""
        assert self.group is not None, "a node belongs to a group"
        assert self.group.environment is not None, "a group belongs to an environment"
        return names.domain_name(self.group.environment.name, self.name)

    @property
    def domain(self) -> libvirt.virDomain:
        """The domain in libvirt; raises NotFoundError."""
        domain = self._find()
        if domain is None:
            raise NotFoundError(
                f"domain '{self.domain_name}' is not there on {self.driver.connection_string}"
            )
        return domain

    def exists(self) -> bool:
        """Whether libvirt has the domain."""
        return self._find() is not None

    def state(self) -> State:
        """What the domain does; raises NotFoundError."""
        with self._asking("ask for the state of"):
            return STATES.get(self.domain.state()[0], "shutoff")

    def is_active(self) -> bool:
        """Whether the domain is there and on, standing still or not."""
        domain = self._find()
        with self._asking("ask for the state of"):
            return domain is not None and bool(domain.isActive())

    def get_vnc_port(self) -> str | None:
        """The port of its screen, if it is on and has one."""
        with self._asking("describe"):
            graphics = etree.fromstring(self.domain.XMLDesc()).find("devices/graphics[@type='vnc']")
        port = None if graphics is None else graphics.get("port")
        return None if port == "-1" else port

    def has_snapshot(self, name: str) -> bool:
        """Whether libvirt has a snapshot of that name of it."""
        with self._asking("list the snapshots of"):
            return name in self.domain.snapshotListNames()

    def get_snapshots(self) -> list[libvirt.virDomainSnapshot]:
        """Its snapshots in libvirt."""
        with self._asking("list the snapshots of"):
            return list(self.domain.listAllSnapshots())

    def define(self) -> None:
        """Define the domain; its volumes are there already, its networks need not be.

        :raises ConflictError: libvirt has a domain of that name
        :raises NotFoundError: a volume is not there
        :raises UnsupportedError: a setting of the node is not supported
        """
        support.refuse(support.node_problems(self))
        with self._asking("define"):
            domain = self.driver.conn.defineXML(domain_xml(self._spec()))
            self.uuid = domain.UUIDString()
        self.save()

    def start(self) -> None:
        """Switch it on; nothing happens if it is on."""
        with self._asking("start"):
            domain = self.domain
            if not domain.isActive():
                domain.create()

    def destroy(self) -> None:
        """Switch it off at once; nothing happens if it is off or gone."""
        domain = self._find()
        with self._asking("stop"):
            if domain is not None and domain.isActive():
                domain.destroy()

    def suspend(self) -> None:
        """Make it stand still; nothing happens if it does, or is off."""
        if self.state() == "running":
            with self._asking("suspend"):
                self.domain.suspend()

    def resume(self) -> None:
        """Let it go on; nothing happens if it does not stand still."""
        if self.state() == "paused":
            with self._asking("resume"):
                self.domain.resume()

    def reset(self) -> None:
        """Press the reset button."""
        with self._asking("reset"):
            self.domain.reset()

    def reboot(self) -> None:
        """Ask the guest to reboot."""
        with self._asking("reboot"):
            self.domain.reboot()

    def shutdown(self) -> None:
        """Ask the guest to shut down."""
        with self._asking("shut down"):
            self.domain.shutdown()

    def remove(self) -> None:
        """Delete the domain, its snapshots and their memory files, its volumes, and all rows."""
        domain = self._find()
        if domain is not None:
            with self._asking("remove"):
                pool = self.driver.pool
                files = memory_files.named_by(domain)
                memory_files.remove(files, pool=pool)  # first: only the domain knows of them
                self._undefine(domain)
        self.erase_volumes()
        self.delete()

    def erase_volumes(self) -> None:
        """Delete its volumes, those on top of others first."""
        for volume in sorted(self.get_volumes(), key=_depth, reverse=True):
            volume.erase()

    def _undefine(self, domain: libvirt.virDomain) -> None:
        persistent = domain.isPersistent()
        if domain.isActive():
            domain.destroy()
        if persistent:
            domain.undefineFlags(UNDEFINE_ALL)

    def _asking(self, what: str) -> AbstractContextManager[None]:
        return self.driver.asking(f"{what} domain '{self.domain_name}'")

    def _find(self) -> libvirt.virDomain | None:
        with self._asking("look up"):
            return find_domain(self.driver.conn, self.uuid)

    def _spec(self) -> DomainSpec:
        driver = self.driver
        hypervisor = choose(
            driver.connection_string, requested=self.hypervisor, architecture=self.architecture
        )
        return DomainSpec(
            name=self.domain_name,
            hypervisor=hypervisor.type,
            emulator=hypervisor.emulator,
            vcpu=self.vcpu,
            memory=self.memory,
            architecture=self.architecture,
            os_type=self.os_type,
            boot=tuple(self.boot),
            reboot_timeout=driver.reboot_timeout,
            bootmenu_timeout=self.bootmenu_timeout,
            cpu_mode=hypervisor.host_cpu_mode if driver.use_host_cpu else None,
            numa=tuple(NumaCell(str(cell["cpus"]), int(str(cell["memory"]))) for cell in self.numa),
            hugepages=driver.use_hugepages,
            acpi=driver.enable_acpi,
            hpet=driver.hpet,
            vnc=Vnc(driver.vnc_password) if self.has_vnc else None,
            video=self.has_videocard,
            disks=tuple(map(_disk, self.disk_devices)),
            interfaces=tuple(map(_interface, self.interfaces)),
        )


def _disk(disk: DiskDevice) -> DiskSpec:
    volume = cast("LibvirtVolume | None", disk.volume)
    return DiskSpec(
        target=disk.target_dev or "",
        bus=disk.bus or "",
        device=disk.device or "",
        type=disk.type or "",
        format=volume.format if volume else "raw",
        path=volume.get_path() if volume else None,
        serial=volume.serial if volume else None,
    )


def _interface(interface: Interface) -> InterfaceSpec:
    network = cast(LibvirtL2NetworkDevice, interface.l2_network_device)
    return InterfaceSpec(interface.mac_address, network.network_name, interface.model)


def _depth(volume: Volume) -> int:
    """How many volumes lie below it."""
    below = volume.backing_store
    return 0 if below is None else 1 + _depth(below)
