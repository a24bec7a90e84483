"""Environments for tests, of as few words as can be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netaddr import IPNetwork

from devops_snapshot.devops.libvirt.models import (
    LibvirtDriver,
    LibvirtL2NetworkDevice,
    LibvirtNode,
    LibvirtVolume,
)
from devops_snapshot.devops.models import AddressPool, Environment, Group
from tests.bed import Host

MIB = 1 / 1024
"""One MiB in the unit of ``Volume.capacity``."""

DHCP_RANGE = {"dhcp": ["+2", "-2"]}


class Builder:
    """An environment ``env`` with one group ``default`` on a host."""

    def __init__(self, host: Host, **driver: Any) -> None:
        self.host = host
        params = {"hpet": False, "use_host_cpu": False, "enable_acpi": True, **driver}
        self.environment = Environment.create("env")
        self.group: Group = self.environment.add_group(
            "default", "devops.driver.libvirt", connection_string=host.uri, **params
        )

    @property
    def driver(self) -> LibvirtDriver:
        driver: LibvirtDriver = self.group.driver
        return driver

    def address_pool(self, name: str, net: str, **params: Any) -> str:
        """Add an address pool; returns its name."""
        AddressPool.address_pool_create(
            name=name, environment=self.environment, pool=[IPNetwork(net)], **params
        )
        return name

    def network(self, name: str, **params: Any) -> LibvirtL2NetworkDevice:
        device: LibvirtL2NetworkDevice = self.group.add_l2_network_device(name, **params)
        return device

    def base_image(self, name: str = "base", **params: Any) -> LibvirtVolume:
        """A volume of the group."""
        volume: LibvirtVolume = self.group.add_volume(name, **params)
        return volume

    def node(self, name: str, **params: Any) -> LibvirtNode:
        """A node without emulation of KVM's absence: always ``hypervisor: qemu`` unless told."""
        params = {"hypervisor": "qemu", "memory": 128, "boot": ["cdrom", "hd"], **params}
        node: LibvirtNode = self.group.add_node(name, **params)
        return node

    def bootable_node(self, name: str, iso: Path, **params: Any) -> LibvirtNode:
        """A node with a system disk that boots the test guest from a cdrom."""
        volumes = [
            {"name": "system", "capacity": 64 * MIB},
            {
                "name": "iso",
                "source_image": str(iso),
                "format": "raw",
                "device": "cdrom",
                "bus": "ide",
            },
        ]
        return self.node(name, volumes=volumes, **params)


def volume_of(node: LibvirtNode, name: str) -> LibvirtVolume:
    volume: LibvirtVolume = node.get_volume(name=name)
    return volume
