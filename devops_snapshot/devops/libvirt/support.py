"""What stands in the way of defining rows in libvirt, told before anything is made.

Each ``..._problems`` function yields errors instead of raising them, so that a check of a whole
environment reports them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from devops_snapshot.errors import (
    ConflictError,
    DevopsError,
    FormatError,
    NotFoundError,
    TemplateError,
    UnsupportedError,
)
from devops_snapshot.qcow2 import read_header
from devops_snapshot.storage_pool import find_by_name

from .connection import find_domain_by_name, find_network_by_name
from .driver import LibvirtDriver

if TYPE_CHECKING:
    from ..models.environment import Environment
    from ..models.group import Group
    from .network import LibvirtL2NetworkDevice
    from .node import LibvirtNode
    from .volume import LibvirtVolume

FORWARD_MODES = (None, "nat", "route")
TOLD_AT_ONCE = 5


def check_supported(environment: Environment) -> None:
    """Raise an error that names everything which cannot be defined; touch nothing.

    :raises ConflictError: libvirt has something of the same name
    :raises NotFoundError: a pool, a source image or a shared volume is not there
    :raises TemplateError: a row makes no sense
    :raises UnsupportedError: a setting is not supported
    """
    refuse(problem for group in environment.get_groups() for problem in group_problems(group))


def check_startable(environment: Environment) -> None:
    """Raise an error that names every network which cannot be brought up; touch nothing.

    :raises UnsupportedError: a network has VLANs or a parent interface
    """
    devices = environment.get_env_l2_network_devices()
    refuse(
        problem
        for device in devices
        if isinstance(device.driver, LibvirtDriver)
        for problem in network_start_problems(cast("LibvirtL2NetworkDevice", device))
    )


def refuse(problems: Iterable[DevopsError]) -> None:
    """Raise nothing, the one problem, or an error of the first one's class that names them all."""
    found = {problem.message: problem for problem in problems}
    if not found:
        return
    first, *others = found.values()
    messages = list(found)[:TOLD_AT_ONCE]
    if len(others) >= TOLD_AT_ONCE:
        messages.append(f"and {len(found) - TOLD_AT_ONCE} more")
    raise type(first)("; ".join(messages), hint="" if others else first.hint)


def group_problems(group: Group) -> Iterator[DevopsError]:
    """What stands in the way of defining a group and all its parts, if its driver is libvirt."""
    if not isinstance(group.driver, LibvirtDriver):
        return
    yield from driver_problems(group.driver)
    for device in group.get_l2_network_devices():
        yield from network_problems(cast("LibvirtL2NetworkDevice", device))
    for volume in group.get_volumes():
        yield from volume_problems(cast("LibvirtVolume", volume))
    for node in group.get_nodes():
        for volume in node.get_volumes():
            yield from volume_problems(cast("LibvirtVolume", volume))
        yield from node_problems(cast("LibvirtNode", node))


def driver_problems(driver: LibvirtDriver) -> Iterator[DevopsError]:
    """Settings of the driver that are not supported."""
    if driver.enable_nwfilters:
        yield UnsupportedError("enable_nwfilters of the libvirt driver is not supported yet")


def network_problems(device: LibvirtL2NetworkDevice) -> Iterator[DevopsError]:
    """What stands in the way of defining a network."""
    yield from driver_problems(device.driver)
    if device.forward.mode not in FORWARD_MODES:
        yield UnsupportedError(
            f"forward mode '{device.forward.mode}' of network '{device}' is not supported yet",
            hint="Leave it out (isolated), or use nat or route",
        )
    if device.dhcp:
        yield from _dhcp_problems(device)
    name = device.network_name
    with device.driver.asking(f"look up network '{name}'"):
        if find_network_by_name(device.driver.conn, name) is not None:
            yield _taken("network", name, device.driver)


def _dhcp_problems(device: LibvirtL2NetworkDevice) -> Iterator[DevopsError]:
    pool = device.address_pool
    if pool is None:
        yield TemplateError(f"network '{device}' has dhcp, but no address_pool")
    elif pool.ip_range_start("dhcp") is None:
        yield TemplateError(
            f"network '{device}' has dhcp, but its address pool '{pool}' has no ip_ranges 'dhcp'"
        )


def network_start_problems(device: LibvirtL2NetworkDevice) -> Iterator[DevopsError]:
    """What stands in the way of bringing a network up."""
    settings = {
        "vlan_ifaces": ", ".join(map(str, device.vlan_ifaces)),
        "parent_iface": device.parent_iface.phys_dev or device.parent_iface.l2_net_dev,
    }
    for setting, value in settings.items():
        if value:
            yield UnsupportedError(
                f"network '{device}' cannot be started: "
                f"its {setting} ({value}) is not supported yet"
            )


def volume_problems(volume: LibvirtVolume) -> Iterator[DevopsError]:
    """What stands in the way of creating a volume."""
    what = f"volume '{volume.new_name()}'"
    if volume.multipath_count:
        yield UnsupportedError(f"multipath_count of {what} is not supported yet")
    if volume.cloudinit_meta_data or volume.cloudinit_user_data:
        yield UnsupportedError(f"cloud-init data of {what} are not supported yet")
    yield from _content_problems(volume, what)
    if volume.source_image:
        yield from _image_problems(volume, what)
    yield from _pool_problems(volume)


def _content_problems(volume: LibvirtVolume, what: str) -> Iterator[DevopsError]:
    on_another = volume.backing_store is not None or bool(volume.shared_backing_store_name)
    if on_another and volume.source_image:
        yield TemplateError(f"{what} has both a source_image and a backing store")
    if on_another and volume.format != "qcow2":
        yield TemplateError(
            f"{what} has a backing store, which only qcow2 can have, not {volume.format}"
        )
    if not (volume.capacity or volume.source_image or on_another):
        yield TemplateError(f"{what} has neither capacity nor source_image nor backing_store")
    try:
        float(volume.capacity or 0)
    except (TypeError, ValueError):
        yield TemplateError(f"capacity of {what} is no number: {volume.capacity!r}")


def _image_problems(volume: LibvirtVolume, what: str) -> Iterator[DevopsError]:
    path = Path(str(volume.source_image))
    try:
        header = read_header(path)
        empty = not path.stat().st_size
    except FormatError as error:
        yield TemplateError(f"source_image of {what} cannot be used: {error.message}")
        return
    except OSError as error:
        yield NotFoundError(
            f"source_image of {what} cannot be read: {volume.source_image}: {error.strerror}"
        )
        return
    if empty:
        yield TemplateError(f"source_image of {what} is empty: {volume.source_image}")
    elif volume.format == "qcow2" and header.format != "qcow2":
        yield TemplateError(
            f"source_image of {what} is not qcow2, as its format says: {volume.source_image}"
        )


def _pool_problems(volume: LibvirtVolume) -> Iterator[DevopsError]:
    name, shared = volume.new_name(), volume.shared_backing_store_name
    with volume.driver.asking(f"look up volume '{name}'"):
        try:
            pool = volume.driver.pool
        except NotFoundError as error:
            yield error
            return
        if find_by_name(pool, name) is not None:
            yield _taken("volume", name, volume.driver)
        if shared and find_by_name(pool, shared) is None:
            yield NotFoundError(
                f"shared_backing_store_name of volume '{name}': "
                f"'{shared}' is not in storage pool '{pool.name()}'"
            )


def node_problems(node: LibvirtNode) -> Iterator[DevopsError]:
    """What stands in the way of defining a node whose volumes and networks are there."""
    what = f"node '{node}'"
    yield from driver_problems(node.driver)
    if node.hypervisor == "test":
        yield UnsupportedError(f"hypervisor 'test' of {what} is not supported: use kvm or qemu")
    if node.cloud_init_volume_name:
        yield UnsupportedError(f"cloud_init_volume_name of {what} is not supported yet")
    if node.bmc_network and node.bmc_port:
        yield UnsupportedError(f"bmc_network of {what} is not supported")
    for interface in node.interfaces:
        if interface.type != "network":
            yield UnsupportedError(
                f"type '{interface.type}' of interface '{interface}' of {what} is not supported"
            )
        elif interface.l2_network_device is None:
            yield UnsupportedError(f"interface '{interface}' of {what} has no l2_network_device")
    name = node.domain_name
    with node.driver.asking(f"look up domain '{name}'"):
        if find_domain_by_name(node.driver.conn, name) is not None:
            yield _taken("domain", name, node.driver)


def _taken(kind: str, name: str, driver: LibvirtDriver) -> ConflictError:
    return ConflictError(
        f"{kind} '{name}' is already there on {driver.connection_string}",
        hint="Erase the environment that it belongs to, or choose another name",
    )
