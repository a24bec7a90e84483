"""Groups: the nodes, networks and volumes of an environment that one driver makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import models
from django.db.models import QuerySet
from netaddr import IPNetwork

from .address_pool import NetworkPool
from .base import BaseModel, get_one
from .network import L2NetworkDevice
from .node import Node
from .volume import Volume


class Group(BaseModel):
    """A group of nodes under one driver."""

    environment = models.ForeignKey("Environment", null=True, on_delete=models.CASCADE)
    name = models.CharField(max_length=255)
    driver = models.OneToOneField("Driver", on_delete=models.CASCADE)

    class Meta:
        db_table = "devops_group"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def group_create(cls, **fields: Any) -> Group:
        """A new row."""
        return cls.objects.create(**fields)

    @classmethod
    def get(cls, **filters: Any) -> Group:
        """The group; raises NotFoundError."""
        return get_one(cls.objects.all(), **filters)

    @classmethod
    def list_all(cls) -> QuerySet[Group]:
        """All groups of all environments."""
        return cls.objects.order_by("id")

    @property
    def _place(self) -> str:
        return f"group {self.name!r}"

    # Parts

    def get_l2_network_device(self, **filters: Any) -> L2NetworkDevice:
        """The network; raises NotFoundError."""
        return get_one(self.l2networkdevice_set.all(), within=self._place, **filters)

    def get_l2_network_devices(self, **filters: Any) -> QuerySet[L2NetworkDevice]:
        """The networks in order."""
        return self.l2networkdevice_set.filter(**filters).order_by("id")

    def get_network_pool(self, **filters: Any) -> NetworkPool:
        """The network pool; raises NotFoundError."""
        return get_one(self.networkpool_set.all(), within=self._place, **filters)

    def get_network_pools(self, **filters: Any) -> QuerySet[NetworkPool]:
        """The network pools in order."""
        return self.networkpool_set.filter(**filters).order_by("id")

    def get_node(self, **filters: Any) -> Node:
        """The node; raises NotFoundError."""
        return get_one(self.node_set.all(), within=self._place, **filters)

    def get_nodes(self, **filters: Any) -> QuerySet[Node]:
        """The nodes in order."""
        return self.node_set.filter(**filters).order_by("id")

    def get_volume(self, **filters: Any) -> Volume:
        """The volume that belongs to the group and no node; raises NotFoundError."""
        return get_one(self.volume_set.all(), within=self._place, **filters)

    def get_volumes(self, **filters: Any) -> QuerySet[Volume]:
        """The volumes that belong to the group and no node."""
        return self.volume_set.filter(**filters).order_by("id")

    def get_allocated_networks(self) -> list[IPNetwork]:
        """IP networks that are in use where the driver works."""
        return self.driver.get_allocated_networks()

    def has_snapshot(self, name: str) -> bool:
        """Whether all nodes have a snapshot of that name."""
        return all(node.has_snapshot(name) for node in self.get_nodes())

    # Adding parts

    def add_l2_network_devices(self, devices: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Add the networks of a template."""
        for name, params in devices.items():
            self.add_l2_network_device(name=name, **(params or {}))

    def add_l2_network_device(self, name: str, **params: Any) -> L2NetworkDevice:
        """Add a network; ``address_pool`` names one of the environment."""
        if params.get("address_pool") is not None:
            assert self.environment is not None, "a group belongs to an environment"
            params["address_pool"] = self.environment.get_address_pool(name=params["address_pool"])
        device: L2NetworkDevice = self.driver.get_model_class("L2NetworkDevice").objects.create(
            group=self, name=name, **params
        )
        return device

    def add_network_pools(self, network_pools: Mapping[str, str]) -> None:
        """Add the network pools of a template: logical network to address pool."""
        for name, address_pool_name in network_pools.items():
            self.add_network_pool(name=name, address_pool_name=address_pool_name)

    def add_network_pool(self, name: str, address_pool_name: str) -> NetworkPool:
        """Say which address pool a logical network uses."""
        assert self.environment is not None, "a group belongs to an environment"
        pool = self.environment.get_address_pool(name=address_pool_name)
        return NetworkPool.objects.create(group=self, name=name, address_pool=pool)

    def add_volumes(self, volumes: Iterable[Mapping[str, Any]]) -> None:
        """Add the ``group_volumes`` of a template."""
        for volume in volumes:
            self.add_volume(**volume)

    def add_volume(self, name: str, **params: Any) -> Volume:
        """Add a volume that nodes of the group use as backing store."""
        volume: Volume = self.driver.get_model_class("Volume").objects.create(
            group=self, name=name, **params
        )
        return volume

    def add_nodes(self, nodes: Iterable[Mapping[str, Any]]) -> None:
        """Add the nodes of a template."""
        for node in nodes:
            self.add_node(name=node["name"], role=node.get("role"), **(node.get("params") or {}))

    def add_node(self, name: str, role: str | None = None, **params: Any) -> Node:
        """Add a node with its interfaces, ``network_config`` and volumes."""
        interfaces = params.pop("interfaces", None) or ()
        network_configs = params.pop("network_config", None) or {}
        volumes = params.pop("volumes", None) or ()
        node: Node = self.driver.get_model_class("Node").objects.create(
            group=self, name=name, role=role, **params
        )
        node.add_interfaces(interfaces)
        node.add_network_configs(network_configs)
        node.add_volumes(volumes)
        return node

    # What the driver does for all parts

    def define_networks(self) -> None:
        """Make the networks."""
        for device in self.get_l2_network_devices():
            device.define()

    def define_volumes(self) -> None:
        """Make the volumes that belong to the group and no node."""
        for volume in self.get_volumes():
            volume.define()

    def define_nodes(self) -> None:
        """Make the nodes' volumes and the nodes."""
        for node in self.get_nodes():
            for volume in node.get_volumes():
                volume.define()
            node.define()

    def start_networks(self) -> None:
        """Bring the networks up."""
        for device in self.get_l2_network_devices():
            device.start()

    def start_nodes(self, nodes: Iterable[Node] | None = None) -> None:
        """Switch on these nodes, by default all."""
        for node in self.get_nodes() if nodes is None else nodes:
            node.start()

    def destroy(self) -> None:
        """Switch the nodes off."""
        for node in self.get_nodes():
            node.destroy()

    def erase(self) -> None:
        """Delete everything in the group, and the group with its driver."""
        for node in self.get_nodes():
            node.erase()
        for volume in self.get_volumes().order_by("-id"):
            volume.erase()
        for device in self.get_l2_network_devices():
            device.erase()
        self.driver.delete()  # takes the group along
