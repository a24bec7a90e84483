"""What stands in the way of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from devops_snapshot.errors import DevopsError, TemplateError, UnsupportedError

from .cloud_init import cloud_init_of, iso_program
from .connection import find_domain_by_name
from .refusal import taken

if TYPE_CHECKING:
    from .network import LibvirtInterface
    from .node import LibvirtNode
    from .volume import LibvirtVolume

VNC_PASSWORD_LENGTH = 8
"""Characters that the protocol knows; libvirt refuses more."""


def node_problems(node: LibvirtNode) -> Iterator[DevopsError]:
    """What stands in the way of defining a node whose volumes and networks are there."""
    what = f"node '{node}'"
    if node.hypervisor == "test":
        yield UnsupportedError(f"hypervisor 'test' of {what} is not supported: use kvm or qemu")
    if node.bmc_network and node.bmc_port:
        yield UnsupportedError(f"bmc_network of {what} is not supported")
    if node.has_vnc and len(node.driver.vnc_password or "") > VNC_PASSWORD_LENGTH:
        yield TemplateError(
            f"vnc_password of the libvirt driver is longer than {VNC_PASSWORD_LENGTH} characters"
        )
    yield from _numa_problems(node, what)
    yield from _cloud_init_problems(node, what)
    for interface in node.interfaces:
        if interface.type != "network":
            yield UnsupportedError(
                f"type '{interface.type}' of interface '{interface}' of {what} is not supported"
            )
        elif interface.l2_network_device is None:
            yield UnsupportedError(f"interface '{interface}' of {what} has no l2_network_device")
        elif (nwfilter := cast("LibvirtInterface", interface).nwfilter) and nwfilter.exists():
            yield taken("network filter", nwfilter.name, node.driver)
    name = node.domain_name
    with node.driver.asking(f"look up domain '{name}'"):
        if find_domain_by_name(node.driver.conn, name) is not None:
            yield taken("domain", name, node.driver)


def _numa_problems(node: LibvirtNode, what: str) -> Iterator[DevopsError]:
    for cell in node.numa:
        known = isinstance(cell, dict) and cell.keys() == {"cpus", "memory"}
        if not known or not str(cell["memory"]).isdecimal():
            yield TemplateError(
                f"numa of {what} has {cell!r}", hint="A cell has cpus, as 0-3, and memory in MiB"
            )


def _cloud_init_problems(node: LibvirtNode, what: str) -> Iterator[DevopsError]:
    try:
        if cloud_init_of(node) is None:
            return
        iso_program()
    except DevopsError as error:
        yield error
        return
    volume = cast("LibvirtVolume", node.get_volume(name=node.cloud_init_volume_name))
    if volume.format != "raw":
        yield TemplateError(f"volume '{volume}' of {what} is {volume.format}, an ISO is raw")
