"""fuel-devops 3.0.5's tables; of methods, only what the contract names."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from django.db import models

from . import driver as libvirt_driver

CLASSES = "devops.driver.libvirt.libvirt_driver"
"""Where fuel-devops has those that ``params._class`` names."""


def now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)


class JSONText(models.TextField):  # type: ignore[type-arg] # generic for the type checker only
    def from_db_value(self, value: str, *_: Any) -> Any:
        return json.loads(value)

    def get_prep_value(self, value: Any) -> str:
        return json.dumps(value, separators=(",", ":"))


def param(name: str) -> Any:
    """An attribute that is kept in ``params``."""
    return property(
        lambda row: row.params.get(name), lambda row, value: row.params.update({name: value})
    )


def to(model: str, *, null: bool = True) -> Any:
    return models.ForeignKey(model, null=null, on_delete=models.CASCADE)


class Row(models.Model):
    name = models.CharField(max_length=255)
    created = models.DateTimeField(default=now)

    class Meta:
        abstract = True


class Environment(Row):
    name = models.CharField(max_length=255, unique=True)

    class Meta:
        db_table = "devops_environment"

    @classmethod
    def get(cls, *, name: str) -> Environment:
        return cls.objects.get(name=name)

    def get_nodes(self) -> Any:
        return Node.objects.filter(group__environment=self).order_by("id")

    def get_groups(self) -> Any:
        return self.group_set.order_by("id")

    def get_address_pools(self) -> Any:
        return self.addresspool_set.order_by("id")

    def get_env_l2_network_devices(self) -> Any:
        return L2NetworkDevice.objects.filter(group__environment=self).order_by("id")


class Driver(Row):
    name = models.CharField(max_length=512)
    params = JSONText(default=dict)
    connection_string = param("connection_string")
    storage_pool_name = param("storage_pool_name")

    class Meta:
        db_table = "devops_driver"

    @property
    def conn(self) -> Any:
        return libvirt_driver.connect(self.connection_string)


class Group(Row):
    environment = to("Environment")
    driver = models.OneToOneField("Driver", on_delete=models.CASCADE)

    class Meta:
        db_table = "devops_group"

    def get_nodes(self) -> Any:
        return self.node_set.order_by("id")

    def get_volumes(self) -> Any:
        return self.volume_set.order_by("id")

    def get_l2_network_devices(self) -> Any:
        return self.l2networkdevice_set.order_by("id")

    def get_network_pools(self) -> Any:
        return self.networkpool_set.order_by("id")


class AddressPool(Row):
    environment = to("Environment", null=False)
    net = models.CharField(max_length=255, unique=True)
    params = JSONText(default=dict)

    class Meta:
        db_table = "devops_address_pool"
        unique_together = ("name", "environment")


class NetworkPool(Row):
    group = to("Group")
    address_pool = to("AddressPool")

    class Meta:
        db_table = "devops_network_pool"


class L2NetworkDevice(Row):
    group = to("Group")
    address_pool = to("AddressPool")
    params = JSONText(default=dict)

    class Meta:
        db_table = "devops_l2_network_device"

    @property
    def driver(self) -> Driver:
        return self.group.driver

    def start(self) -> None:
        libvirt_driver.start_network(self.driver.conn, self.params["uuid"])

    def destroy(self) -> None:
        libvirt_driver.stop_network(self.driver.conn, self.params["uuid"])


class Node(Row):
    group = to("Group")
    role = models.CharField(max_length=255, null=True)
    params = JSONText(default=dict)
    uuid = param("uuid")

    class Meta:
        db_table = "devops_node"
        unique_together = ("name", "group")

    @property
    def driver(self) -> Driver:
        return self.group.driver

    @property
    def disk_devices(self) -> Any:
        return self.diskdevice_set.order_by("id")

    def get_volumes(self) -> Any:
        return self.volume_set.order_by("id")


class Interface(models.Model):
    node = to("Node", null=False)
    l2_network_device = to("L2NetworkDevice")
    label = models.CharField(max_length=255, null=True)
    mac_address = models.CharField(max_length=255, unique=True)
    type = models.CharField(max_length=255)
    model = models.CharField(max_length=255)
    params = JSONText(default=dict)

    class Meta:
        db_table = "devops_interface"


class Address(models.Model):
    interface = to("Interface")
    ip_address = models.GenericIPAddressField()

    class Meta:
        db_table = "devops_address"


class NetworkConfig(models.Model):
    node = to("Node", null=False)
    label = models.CharField(max_length=255)
    networks = JSONText(default=list)
    aggregation = models.CharField(max_length=255, null=True)
    parents = JSONText(default=list)

    class Meta:
        db_table = "devops_network_config"


class Volume(Row):
    backing_store = to("self")
    node = to("Node")
    group = to("Group")
    params = JSONText(default=dict)
    uuid = param("uuid")
    format = param("format")

    class Meta:
        db_table = "devops_volume"
        unique_together = (("name", "node"), ("name", "group"))

    @property
    def driver(self) -> Driver:
        return (self.node or self.group).driver

    def create_child(self, name: str) -> Volume:
        params = {"_class": f"{CLASSES}:LibvirtVolume", "format": self.format}
        return Volume.objects.create(name=name, node=self.node, backing_store=self, params=params)

    def define(self) -> None:
        """Of what the extension makes: a layer on another volume."""
        owner = self.node or self.group
        group = self.group or self.node.group
        self.uuid = libvirt_driver.make_layer(
            self._pool,
            f"{group.environment.name}_{owner.name}_{self.name}",
            below=self.backing_store.uuid,
            below_format=self.backing_store.format,
        )
        self.save()

    def remove(self) -> None:
        if self.uuid:
            libvirt_driver.remove_volume(self._pool, self.uuid)
        self.delete()

    @property
    def _pool(self) -> Any:
        return self.driver.conn.storagePoolLookupByName(self.driver.storage_pool_name)


class DiskDevice(models.Model):
    node = to("Node", null=False)
    volume = to("Volume")
    params = JSONText(default=dict)
    device = param("device")
    target_dev = param("target_dev")

    class Meta:
        db_table = "devops_diskdevice"
