"""What stands in the way of defining rows in libvirt, told before anything is made.

Each ``..._problems`` function yields errors instead of raising them, so that a check of a whole
environment reports them together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from devops_snapshot.errors import DevopsError

from .driver import LibvirtDriver
from .network_problems import network_problems, network_start_problems
from .node_problems import node_problems
from .refusal import refuse
from .volume_problems import volume_problems

if TYPE_CHECKING:
    from ..models.environment import Environment
    from ..models.group import Group
    from .network import LibvirtL2NetworkDevice
    from .node import LibvirtNode
    from .volume import LibvirtVolume


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

    :raises NotFoundError: a bridge of the host is not there
    """
    devices = environment.get_env_l2_network_devices()
    refuse(
        problem
        for device in devices
        if isinstance(device.driver, LibvirtDriver)
        for problem in network_start_problems(cast("LibvirtL2NetworkDevice", device))
    )


def group_problems(group: Group) -> Iterator[DevopsError]:
    """What stands in the way of defining a group and all its parts, if its driver is libvirt."""
    if not isinstance(group.driver, LibvirtDriver):
        return
    for device in group.get_l2_network_devices():
        yield from network_problems(cast("LibvirtL2NetworkDevice", device))
    for volume in group.get_volumes():
        yield from volume_problems(cast("LibvirtVolume", volume))
    for node in group.get_nodes():
        for volume in node.get_volumes():
            yield from volume_problems(cast("LibvirtVolume", volume))
        yield from node_problems(cast("LibvirtNode", node))
