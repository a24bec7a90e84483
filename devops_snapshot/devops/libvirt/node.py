"""Nodes: libvirt's domains."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from typing import Literal, cast

import libvirt
from lxml import etree

from devops_snapshot.connection import switch_off
from devops_snapshot.errors import NotFoundError

from ..models.network import Interface
from ..models.node import Node
from ..models.params import ParamField, registered
from ..models.volume import DiskDevice, Volume
from . import memory_files, names
from .cloud_init import cloud_init_of
from .connection import find_domain
from .domain_xml import domain_xml
from .driver import MODULE, LibvirtDriver
from .network import LibvirtInterface
from .node_problems import node_problems
from .node_spec import domain_spec
from .refusal import refuse
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
        """Define the domain and its filters, and fill the volume of its cloud-init data.

        Its volumes are there already, its networks need not be. On failure nothing is left but the
        data in that volume.

        :raises ConflictError: libvirt has a domain or a filter of that name
        :raises NotFoundError: a volume is not there, or no program for cloud-init's ISO
        :raises TemplateError: a setting of the node makes no sense
        :raises UnsupportedError: a setting of the node is not supported
        """
        refuse(node_problems(self))
        with ExitStack() as undo, self._asking("define"):
            self._fill_cloud_init_volume()
            for interface in map(_libvirt_interface, self.interfaces):
                interface.define()
                if interface.nwfilter is not None:
                    undo.callback(interface.nwfilter.remove)
            domain = self.driver.conn.defineXML(domain_xml(domain_spec(self)))
            undo.callback(domain.undefine)
            self.uuid = domain.UUIDString()
            self.save()
            undo.pop_all()

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
            if domain is not None:
                switch_off(domain)

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
        """Delete the domain, its snapshots and their memory files, volumes, filters, and rows."""
        domain = self._find()
        if domain is not None:
            with self._asking("remove"):
                pool = self.driver.pool
                files = memory_files.named_by(domain)
                memory_files.remove(files, pool=pool)  # first: only the domain knows of them
                self._undefine(domain)
        self.erase_volumes()
        for interface in self.interfaces:
            interface.remove()
        self.delete()

    def attach_volume(
        self,
        volume: Volume,
        device: str = "disk",
        type: str = "file",
        bus: str = "virtio",
        target_dev: str | None = None,
    ) -> DiskDevice:
        """Plug a volume in; one with paths as so many SCSI disks, of which the first is returned.

        The first is at that target, or at the first free one; the others at the next free ones.
        """
        paths = volume.multipath_count if isinstance(volume, LibvirtVolume) else 0
        bus = "scsi" if paths else bus
        first = super().attach_volume(volume, device, type, bus, target_dev)
        for _ in range(1, paths):
            super().attach_volume(volume, device, type, bus)
        return first

    def erase_volumes(self) -> None:
        """Delete its volumes, those on top of others first."""
        for volume in sorted(self.get_volumes(), key=_depth, reverse=True):
            volume.erase()

    def _fill_cloud_init_volume(self) -> None:
        data = cloud_init_of(self)
        if data is not None:
            volume = cast(LibvirtVolume, self.get_volume(name=self.cloud_init_volume_name))
            with data.iso() as iso:
                volume.upload(iso)

    def _undefine(self, domain: libvirt.virDomain) -> None:
        persistent = domain.isPersistent()
        switch_off(domain)
        if persistent:
            domain.undefineFlags(UNDEFINE_ALL)

    def _asking(self, what: str) -> AbstractContextManager[None]:
        return self.driver.asking(f"{what} domain '{self.domain_name}'")

    def _find(self) -> libvirt.virDomain | None:
        with self._asking("look up"):
            return find_domain(self.driver.conn, self.uuid)


def _libvirt_interface(interface: Interface) -> LibvirtInterface:
    return cast(LibvirtInterface, interface)


def _depth(volume: Volume) -> int:
    """How many volumes lie below it."""
    below = volume.backing_store
    return 0 if below is None else 1 + _depth(below)
