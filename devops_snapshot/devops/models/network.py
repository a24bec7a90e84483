"""Networks that nodes are plugged into, and the interfaces that are plugged in."""

from __future__ import annotations

import secrets
from typing import Any

from django.db import models
from django.db.models import QuerySet

from devops_snapshot.errors import ConflictError, DevopsError, UnsupportedError

from .address_pool import Address
from .base import BaseModel, get_one
from .driver import DrivenModel
from .fields import JSONTextField
from .params import ParamedModel, ParamField, registered

INTERFACE_MODELS = ("virtio", "e1000", "pcnet", "rtl8139", "ne2k_pci")


def generate_mac() -> str:
    """A random address that begins with 64, as all of fuel-devops's do."""
    return ":".join(["64", *(f"{byte:02x}" for byte in secrets.token_bytes(5))])


@registered("devops.models.network:L2NetworkDevice")
class L2NetworkDevice(DrivenModel, BaseModel):
    """A switch: with libvirt, a bridge."""

    group = models.ForeignKey("Group", null=True, on_delete=models.CASCADE)
    address_pool = models.ForeignKey("AddressPool", null=True, on_delete=models.CASCADE)
    name = models.CharField(max_length=255)

    class Meta:
        db_table = "devops_l2_network_device"
        verbose_name = "l2_network_device"

    def __str__(self) -> str:
        return self.name

    @property
    def driver(self) -> Any:
        assert self.group is not None, "a network belongs to a group"
        return self.group.driver

    @property
    def interfaces(self) -> QuerySet[Interface]:
        """The interfaces that are plugged in."""
        return self.interface_set.order_by("id")

    def define(self) -> None:
        """Make the network."""
        raise self.unsupported("define it")

    def start(self) -> None:
        """Bring the network up."""
        raise self.unsupported("start it")

    def destroy(self) -> None:
        """Take the network down."""
        raise self.unsupported("stop it")

    def is_active(self) -> bool:
        """Whether the network is up."""
        raise self.unsupported("tell its state")

    @property
    def is_blocked(self) -> bool:
        """Whether all its traffic is dropped."""
        return False

    def block(self) -> None:
        """Drop all its traffic."""
        raise self.unsupported("block it")

    def unblock(self) -> None:
        """Let its traffic pass; nothing happens if it does."""

    def erase(self) -> None:
        """The same as :meth:`remove`."""
        self.remove()

    def remove(self) -> None:
        """Delete the network and its row."""
        raise self.unsupported("remove it")


class NetworkConfig(models.Model):
    """How the interfaces of a node are meant to be used (for whoever configures the guest)."""

    node = models.ForeignKey("Node", on_delete=models.CASCADE)
    label = models.CharField(max_length=255)
    networks = JSONTextField(default=list)
    aggregation = models.CharField(max_length=255, null=True)
    parents = JSONTextField(default=list)

    class Meta:
        db_table = "devops_network_config"

    def __str__(self) -> str:
        return self.label


@registered("devops.models.network:Interface")
class Interface(ParamedModel):
    """A network card of a node."""

    node = models.ForeignKey("Node", on_delete=models.CASCADE)
    l2_network_device = models.ForeignKey("L2NetworkDevice", null=True, on_delete=models.CASCADE)
    label = models.CharField(max_length=255, null=True)
    mac_address = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=255)
    model = models.CharField(max_length=255, choices=[(name, name) for name in INTERFACE_MODELS])

    features: ParamField[list[str]] = ParamField([])

    class Meta:
        db_table = "devops_interface"

    def __str__(self) -> str:
        return self.label or self.mac_address

    @classmethod
    def interface_create(
        cls,
        l2_network_device: L2NetworkDevice | None,
        node: Any,
        label: str | None,
        if_type: str = "network",
        mac_address: str | None = None,
        model: str = "virtio",
        features: list[str] | None = None,
    ) -> Interface:
        """A new interface, with an address if its network has an address pool."""
        if model not in INTERFACE_MODELS:
            known = ", ".join(INTERFACE_MODELS)
            raise DevopsError(f"Unknown interface model {model!r}", hint=f"It is one of: {known}")
        owner = Interface.objects.filter(mac_address=mac_address).first()
        if owner is not None:
            raise ConflictError(
                f"MAC address {mac_address} is that of node {owner.node}"
                f" in environment {owner.node.group and owner.node.group.environment}"
            )
        interface = cls.objects.create(
            node=node,
            l2_network_device=l2_network_device,
            label=label,
            type=if_type,
            mac_address=mac_address or generate_mac(),
            model=model,
            features=features or [],
        )
        if l2_network_device is not None and l2_network_device.address_pool is not None:
            interface.add_address()
        return interface

    @property
    def driver(self) -> Any:
        """The driver of the node."""
        return self.node.driver

    @property
    def addresses(self) -> QuerySet[Address]:
        """The addresses that were given to it."""
        return self.address_set.order_by("id")

    @property
    def network_config(self) -> NetworkConfig:
        """How it is meant to be used; raises NotFoundError."""
        return get_one(self.node.network_configs, within=f"node {self.node}", label=self.label)

    def define(self) -> None:
        """Make what the driver needs for it: with libvirt nothing, the node's definition has it."""
        self.save()

    def remove(self) -> None:
        """Delete the row."""
        self.delete()

    @property
    def is_blocked(self) -> bool:
        """Whether all its traffic is dropped."""
        return False

    def block(self) -> None:
        """Drop all its traffic."""
        raise UnsupportedError(f"the traffic of interface {self} cannot be blocked")

    def unblock(self) -> None:
        """Let its traffic pass; nothing happens if it does."""

    def add_address(self) -> None:
        """Give it the address reserved for ``<group>_<node>``, else the next free one."""
        assert self.l2_network_device is not None, "only interfaces of a network have addresses"
        pool = self.l2_network_device.address_pool
        assert pool is not None, "only interfaces of a network with a pool have addresses"
        group = self.node.group
        assert group is not None, "a node belongs to a group"
        reserved = pool.get_ip(f"{group.name}_{self.node.name}")
        Address.objects.create(interface=self, ip_address=reserved or str(pool.next_ip()))
