"""Environments: all that belongs to one deployment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import QuerySet
from netaddr import IPNetwork

from devops_snapshot.errors import ConflictError, NotFoundError

from ..subnets import free_subnets, host_routes, parse_pool
from .address_pool import AddressPool
from .base import BaseModel, get_one
from .driver import RENAMED_DRIVERS, Driver
from .group import Group
from .network import L2NetworkDevice
from .node import Node


class Environment(BaseModel):
    """An environment: groups of nodes, and the subnets that their networks use."""

    name = models.CharField(max_length=255, unique=True)

    class Meta:
        db_table = "devops_environment"

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Environment(name={self.name!r})"

    @classmethod
    def create(cls, name: str) -> Environment:
        """A new, empty environment; raises ConflictError if there is one of that name."""
        try:
            with transaction.atomic():
                return cls.objects.create(name=name)
        except IntegrityError as error:
            raise ConflictError(
                f"Environment {name!r} already exists",
                hint=f"Choose another name or run `dos.py erase {name}`",
            ) from error

    @classmethod
    def get(cls, **filters: Any) -> Environment:
        """The environment; raises NotFoundError."""
        return get_one(cls.objects.all(), **filters)

    @classmethod
    def list_all(cls) -> QuerySet[Environment]:
        """All environments."""
        return cls.objects.order_by("id")

    @classmethod
    def create_environment(cls, full_config: Mapping[str, Any]) -> Environment:
        """The rows of the environment that a template describes: all of them or none.

        Nothing is made outside of the database. Raises TemplateError or ConflictError.
        """
        from ..template import check_settings  # which needs the models

        config = check_settings(full_config)
        with transaction.atomic():
            environment = cls.create(config["env_name"])
            environment.add_groups(config["groups"])
            environment.add_address_pools(config.get("address_pools") or {})
            for settings in config["groups"]:
                group = environment.get_group(name=settings["name"])
                group.add_l2_network_devices(settings.get("l2_network_devices") or {})
                group.add_network_pools(settings.get("network_pools") or {})
            for settings in config["groups"]:
                group = environment.get_group(name=settings["name"])
                group.add_volumes(settings.get("group_volumes") or ())
                group.add_nodes(settings.get("nodes") or ())
        return environment

    @property
    def _place(self) -> str:
        return f"environment {self.name!r}"

    # Parts

    def get_group(self, **filters: Any) -> Group:
        """The group; raises NotFoundError."""
        return get_one(self.group_set.all(), within=self._place, **filters)

    def get_groups(self, **filters: Any) -> QuerySet[Group]:
        """The groups in order."""
        return self.group_set.filter(**filters).order_by("id")

    def get_node(self, **filters: Any) -> Node:
        """The node; raises NotFoundError."""
        return get_one(self.get_nodes(), within=self._place, **filters)

    def get_nodes(self, **filters: Any) -> QuerySet[Node]:
        """The nodes of all groups in order."""
        return Node.objects.filter(group__environment=self, **filters).order_by("id")

    def get_address_pool(self, **filters: Any) -> AddressPool:
        """The address pool; raises NotFoundError."""
        return get_one(self.addresspool_set.all(), within=self._place, **filters)

    def get_address_pools(self, **filters: Any) -> QuerySet[AddressPool]:
        """The address pools in order."""
        return self.addresspool_set.filter(**filters).order_by("id")

    def get_env_l2_network_device(self, **filters: Any) -> L2NetworkDevice:
        """The network; raises NotFoundError."""
        return get_one(self.get_env_l2_network_devices(), within=self._place, **filters)

    def get_env_l2_network_devices(self, **filters: Any) -> QuerySet[L2NetworkDevice]:
        """The networks of all groups in order."""
        return L2NetworkDevice.objects.filter(group__environment=self, **filters).order_by("id")

    def get_allocated_networks(self) -> list[IPNetwork]:
        """IP networks that are in use where its drivers work."""
        return [net for group in self.get_groups() for net in group.get_allocated_networks()]

    def get_active_nodes(self) -> list[Node]:
        """The nodes that are on."""
        return [node for node in self.get_nodes() if node.is_active()]

    def has_admin(self) -> bool:
        """Whether there is a node ``admin``."""
        return self.get_nodes(name="admin").exists()

    def get_admin(self) -> Node:
        """The node ``admin``; raises NotFoundError."""
        if not self.has_admin():
            raise NotFoundError(f"Environment {self.name!r} has no admin node")
        return self.get_node(name="admin")

    def get_admin_ip(self) -> str:
        """The address of the node ``admin``; raises NotFoundError."""
        network: str = settings.SSH_CREDENTIALS["admin_network"]
        return self.get_admin().get_ip_address_by_network_name(network)

    def has_snapshot(self, name: str) -> bool:
        """Whether all nodes (and at least one) have a snapshot of that name."""
        nodes = self.get_nodes()
        return bool(nodes) and all(node.has_snapshot(name) for node in nodes)

    # Adding parts

    def add_groups(self, groups: Iterable[Mapping[str, Any]]) -> None:
        """Add the groups of a template, empty, with their drivers."""
        for group in groups:
            driver = group["driver"]
            name = RENAMED_DRIVERS.get(driver["name"], driver["name"])
            self.add_group(group["name"], name, **(driver.get("params") or {}))

    def add_group(self, group_name: str, driver_name: str, **driver_params: Any) -> Group:
        """Add an empty group; raises UnsupportedError for an unknown driver."""
        driver = Driver.driver_create(driver_name, **driver_params)
        return Group.group_create(name=group_name, environment=self, driver=driver)

    def add_address_pools(self, address_pools: Mapping[str, Mapping[str, Any]]) -> None:
        """Add the address pools of a template."""
        in_use = self.get_allocated_networks()
        for name, pool in address_pools.items():
            self._add_address_pool(name, pool["net"], in_use, pool.get("params") or {})

    def add_address_pool(self, name: str, net: str, **params: Any) -> AddressPool:
        """Add an address pool on a subnet that nobody uses.

        ``net`` is ``NETWORK[,NETWORK...]:PREFIX``, or one network as it is. Raises ConflictError if
        the database, libvirt or (for those with a prefix) the routes of this host leave none.
        """
        return self._add_address_pool(name, net, self.get_allocated_networks(), params)

    def _add_address_pool(
        self, name: str, net: str, in_use: list[IPNetwork], params: Mapping[str, Any]
    ) -> AddressPool:
        given_away = [IPNetwork(row.net) for row in AddressPool.objects.only("net")]
        subnets = free_subnets(parse_pool(net), taken=[*in_use, *given_away], routes=host_routes())
        return AddressPool.address_pool_create(name, self, subnets, **params)

    # What the drivers do for all parts

    def define(self) -> None:
        """Make all networks, then all volumes, then all nodes."""
        for group in self.get_groups():
            group.define_networks()
        for group in self.get_groups():
            group.define_volumes()
        for group in self.get_groups():
            group.define_nodes()

    def start(self, nodes: Iterable[Node] | None = None) -> None:
        """Bring the networks up and switch on these nodes, by default all."""
        for group in self.get_groups():
            group.start_networks()
        for node in self.get_nodes() if nodes is None else nodes:
            node.start()

    def destroy(self) -> None:
        """Switch all nodes off."""
        for group in self.get_groups():
            group.destroy()

    def suspend(self) -> None:
        """Make all nodes stand still."""
        for node in self.get_nodes():
            node.suspend()

    def resume(self) -> None:
        """Let all nodes go on."""
        for node in self.get_nodes():
            node.resume()

    def erase(self) -> None:
        """Delete the environment with everything in it."""
        for group in self.get_groups():
            group.erase()
        self.delete()
