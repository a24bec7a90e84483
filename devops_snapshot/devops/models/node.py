"""Nodes: with libvirt, virtual machines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import ascii_lowercase
from typing import Any

from django.db import models
from django.db.models import QuerySet

from devops_snapshot.errors import DevopsError, NotFoundError

from .base import BaseModel, get_one
from .driver import DrivenModel
from .network import Interface, NetworkConfig
from .params import ParamField, registered
from .volume import DiskDevice, Volume


@registered("devops.models.node:Node")
class Node(DrivenModel, BaseModel):
    """A node of a group. What it does is its driver's; this class keeps its parts together."""

    group = models.ForeignKey("Group", null=True, on_delete=models.CASCADE)
    name = models.CharField(max_length=255)
    role = models.CharField(max_length=255, null=True)

    kernel_cmd: ParamField[str | None] = ParamField(None)
    ssh_port: ParamField[int] = ParamField(22)
    bootstrap_timeout: ParamField[int] = ParamField(600)
    deploy_timeout: ParamField[int] = ParamField(3600)
    deploy_check_cmd: ParamField[str | None] = ParamField(None)

    class Meta:
        db_table = "devops_node"
        unique_together = ("name", "group")

    def __str__(self) -> str:
        return self.name

    @property
    def driver(self) -> Any:
        assert self.group is not None, "a node belongs to a group"
        return self.group.driver

    # Parts

    @property
    def interfaces(self) -> QuerySet[Interface]:
        """Its network cards in order."""
        return self.interface_set.order_by("id")

    @property
    def disk_devices(self) -> QuerySet[DiskDevice]:
        """Its disks in order."""
        return self.diskdevice_set.order_by("id")

    @property
    def network_configs(self) -> QuerySet[NetworkConfig]:
        """How its interfaces are meant to be used."""
        return self.networkconfig_set.order_by("id")

    @property
    def is_admin(self) -> bool:
        """Whether it is the master of the deployment."""
        return "master" in str(self.role)

    @property
    def is_slave(self) -> bool:
        """Whether it is one of the deployed nodes."""
        return self.role == "fuel_slave"

    @property
    def _place(self) -> str:
        return f"node {self.name!r}"

    def get_volume(self, **filters: Any) -> Volume:
        """The volume of that name; raises NotFoundError."""
        return get_one(self.volume_set.all(), within=self._place, **filters)

    def get_volumes(self, **filters: Any) -> QuerySet[Volume]:
        """Its volumes, those of snapshots too."""
        return self.volume_set.filter(**filters).order_by("id")

    def get_interface_by_network_name(self, network_name: str) -> Interface:
        """Its first interface in that network; raises NotFoundError."""
        interface = self.interfaces.filter(l2_network_device__name=network_name).first()
        if interface is None:
            raise NotFoundError(f"Node {self.name!r} has no interface in network {network_name!r}")
        return interface

    def get_ip_address_by_network_name(self, name: str, interface: Interface | None = None) -> str:
        """The address of its first interface in that network; raises NotFoundError."""
        address = (interface or self.get_interface_by_network_name(name)).addresses.first()
        if address is None:
            raise NotFoundError(f"Node {self.name!r} has no address in network {name!r}")
        return address.ip_address

    def next_disk_name(self) -> str:
        """The first target from ``sda`` on that no disk has."""
        taken = {disk.target_dev for disk in self.disk_devices}
        for name in (f"sd{letter}" for letter in ascii_lowercase):
            if name not in taken:
                return name
        raise DevopsError(f"Node {self.name!r} has no room for another disk: 26 are the limit")

    # Adding parts

    def add_interfaces(self, interfaces: Iterable[Mapping[str, Any]]) -> None:
        """Add the interfaces of a template."""
        for interface in interfaces:
            self.add_interface(
                label=interface["label"],
                l2_network_device_name=interface.get("l2_network_device"),
                interface_model=interface.get("interface_model", "virtio"),
                mac_address=interface.get("mac_address"),
                features=interface.get("features"),
            )

    def add_interface(
        self,
        label: str,
        l2_network_device_name: str | None,
        interface_model: str,
        mac_address: str | None = None,
        features: list[str] | None = None,
    ) -> Interface:
        """Add an interface in a network of the environment (``None``: not plugged in)."""
        assert self.group is not None, "a node belongs to a group"
        device = None
        if l2_network_device_name:
            environment = self.group.environment
            assert environment is not None, "a group belongs to an environment"
            device = environment.get_env_l2_network_device(name=l2_network_device_name)
        interface: Interface = self.driver.get_model_class("Interface").interface_create(
            node=self,
            label=label,
            l2_network_device=device,
            mac_address=mac_address,
            model=interface_model,
            features=features,
        )
        return interface

    def add_network_configs(self, network_configs: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Add the ``network_config`` of a template."""
        for label, config in network_configs.items():
            self.add_network_config(label=label, **(config or {}))

    def add_network_config(
        self,
        label: str,
        networks: list[str] | None = None,
        aggregation: str | None = None,
        parents: list[str] | None = None,
    ) -> NetworkConfig:
        """Say how an interface (or a bond of ``parents``) is meant to be used."""
        return NetworkConfig.objects.create(
            node=self,
            label=label,
            networks=networks or [],
            aggregation=aggregation,
            parents=parents or [],
        )

    def add_volumes(self, volumes: Iterable[Mapping[str, Any]]) -> None:
        """Add the volumes of a template."""
        for volume in volumes:
            self.add_volume(**volume)

    def add_volume(
        self, name: str, device: str = "disk", bus: str = "virtio", **params: Any
    ) -> Volume:
        """Add a volume and plug it in; ``backing_store`` names a volume of the group."""
        assert self.group is not None, "a node belongs to a group"
        if params.get("backing_store") is not None:
            params["backing_store"] = self.group.get_volume(name=params["backing_store"])
        volume: Volume = self.driver.get_model_class("Volume").objects.create(
            node=self, name=name, **params
        )
        self.attach_volume(volume=volume, device=device, bus=bus)
        return volume

    def attach_volume(
        self,
        volume: Volume,
        device: str = "disk",
        type: str = "file",
        bus: str = "virtio",
        target_dev: str | None = None,
    ) -> DiskDevice:
        """Plug a volume in, at the first free target unless one is named."""
        disk: DiskDevice = self.driver.get_model_class("DiskDevice").objects.create(
            device=device,
            type=type,
            bus=bus,
            target_dev=target_dev or self.next_disk_name(),
            volume=volume,
            node=self,
        )
        return disk

    # What only a driver can do

    def define(self) -> None:
        """Make the node; its volumes and networks are there already."""
        raise self.unsupported("define it")

    def start(self) -> None:
        """Switch it on; nothing happens if it is on."""
        raise self.unsupported("start it")

    def destroy(self) -> None:
        """Switch it off at once; nothing happens if it is off."""
        raise self.unsupported("stop it")

    def suspend(self) -> None:
        """Make it stand still."""
        raise self.unsupported("suspend it")

    def resume(self) -> None:
        """Let it go on."""
        raise self.unsupported("resume it")

    def reset(self) -> None:
        """Press the reset button."""
        raise self.unsupported("reset it")

    def reboot(self) -> None:
        """Ask the guest to reboot."""
        raise self.unsupported("reboot it")

    def shutdown(self) -> None:
        """Ask the guest to shut down."""
        raise self.unsupported("shut it down")

    def is_active(self) -> bool:
        """Whether it is on, standing still or not."""
        raise self.unsupported("tell its state")

    def get_vnc_port(self) -> str | None:
        """The port of its screen, if it is on and has one."""
        raise self.unsupported("show its screen")

    def has_snapshot(self, name: str) -> bool:
        """Whether it has a snapshot of that name."""
        raise self.unsupported("take snapshots")

    def get_snapshots(self) -> list[Any]:
        """Its snapshots."""
        raise self.unsupported("take snapshots")

    def erase(self) -> None:
        """The same as :meth:`remove`."""
        self.remove()

    def remove(self) -> None:
        """Delete the node, its volumes and all their rows."""
        raise self.unsupported("remove it")

    def erase_volumes(self) -> None:
        """Delete its volumes, those on top of others first."""
        for volume in self.get_volumes().order_by("-id"):
            volume.erase()
