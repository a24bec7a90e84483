"""What joins a network to others and to the host's own devices: VLANs, and ports of its bridge.

fuel-devops has ``vlan_ifaces`` made through libvirt's interface driver, which today's libvirt can
only look with, and plugs ``parent_iface`` in with ``brctl``, whose failures it passes over. Here
``ip link`` does both whenever the network is started. What fails is told in a warning: the guests
of the network reach each other all the same, and on another host the device may well be missing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from devops_snapshot.errors import DevopsError, UnsupportedError

from .host_links import HostLinks
from .network_xml import BRIDGE

if TYPE_CHECKING:
    from .network import LibvirtL2NetworkDevice

LOG = logging.getLogger(__name__)


def connect(device: LibvirtL2NetworkDevice) -> None:
    """Make the VLANs of a network that is up, and plug it into its parent; warn of what fails."""
    for tag in device.vlan_ifaces:
        try:
            _links(device).add_vlan(device.bridge_name(), tag, alias=_alias(device))
        except DevopsError as error:
            LOG.warning("network '%s' has no VLAN %s: %s", device.network_name, tag, error)
    parent = device.parent_iface
    name = parent.phys_dev or parent.l2_net_dev
    if name is None or device.forward.mode == BRIDGE:
        return
    try:
        _links(device).plug(_port(device), device.bridge_name())
    except DevopsError as error:
        what = f"VLAN {parent.tag} of {name}" if parent.tag else name
        LOG.warning("network '%s' is not connected to %s: %s", device.network_name, what, error)


def disconnect(device: LibvirtL2NetworkDevice) -> None:
    """Delete the VLANs that were made on devices of the host; those on its own bridge go with it.

    What cannot be deleted stays behind with a warning.
    """
    for name in _own_devices(device):
        try:
            _links(device).remove(name, alias=_alias(device))
        except DevopsError as error:
            LOG.warning("network device %s stays behind: %s", name, error)


def _own_devices(device: LibvirtL2NetworkDevice) -> Iterator[str]:
    """Devices of the host that may have been made for the network."""
    parent = device.parent_iface
    if not parent.phys_dev:
        return
    if device.forward.mode == BRIDGE:
        yield from (f"{parent.phys_dev}.{tag}" for tag in device.vlan_ifaces)
    elif parent.tag:
        yield f"{parent.phys_dev}.{parent.tag}"


def _port(device: LibvirtL2NetworkDevice) -> str:
    """The device that is to become a port of the network's bridge; its VLAN is made."""
    parent = device.parent_iface
    owner = device if parent.phys_dev else _parent_of(device, parent.l2_net_dev)
    name = parent.phys_dev or owner.bridge_name()
    if parent.tag:
        return _links(device).add_vlan(name, parent.tag, alias=_alias(owner))
    if parent.phys_dev:
        return str(name)
    raise UnsupportedError(
        f"a bridge cannot be a port of another ({name})",
        hint="Give parent_iface a tag, and name that in the vlan_ifaces of the parent",
    )


def _parent_of(device: LibvirtL2NetworkDevice, name: str | None) -> LibvirtL2NetworkDevice:
    """Another network of the environment, which is brought up: VLANs on its bridge are its own."""
    assert device.group is not None, "a network belongs to a group"
    assert device.group.environment is not None, "a group belongs to an environment"
    parent = device.group.environment.get_env_l2_network_device(name=name)
    if not isinstance(parent, type(device)):
        raise UnsupportedError(f"network '{name}' is no network of libvirt's")
    parent.bring_up()
    return parent


def _links(device: LibvirtL2NetworkDevice) -> HostLinks:
    return HostLinks(device.driver.connection_string)


def _alias(device: LibvirtL2NetworkDevice) -> str:
    """Tells whose a VLAN is; the kernel takes 255 characters."""
    return f"devops {device.network_name}"
