"""What stands in the way of networks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import libvirt
from lxml import etree

from devops_snapshot.connection import found
from devops_snapshot.errors import (
    ConflictError,
    DevopsError,
    NotFoundError,
    TemplateError,
    UnsupportedError,
)

from .connection import find_network_by_name
from .host_links import NAME, VLANS
from .network_xml import BRIDGE
from .refusal import taken

if TYPE_CHECKING:
    from .network import LibvirtL2NetworkDevice

FORWARD_MODES = (None, "nat", "route", BRIDGE)


def network_problems(device: LibvirtL2NetworkDevice) -> Iterator[DevopsError]:
    """What stands in the way of defining a network."""
    mode = device.forward.mode
    if mode not in FORWARD_MODES:
        # fuel-devops writes <bridge> for every mode, and libvirt refuses that for these
        yield UnsupportedError(
            f"forward mode '{mode}' of network '{device}' is not supported",
            hint="Leave it out (isolated), or use nat, route or bridge",
        )
    if mode == BRIDGE and not device.parent_iface.phys_dev:
        yield TemplateError(
            f"network '{device}' has forward mode 'bridge', but no bridge",
            hint="Name it in phys_dev of its parent_iface",
        )
    if device.dhcp and mode != BRIDGE:
        yield from _dhcp_problems(device)
    yield from _parent_problems(device)
    yield from _names_taken(device)


def _dhcp_problems(device: LibvirtL2NetworkDevice) -> Iterator[DevopsError]:
    pool = device.address_pool
    if pool is None:
        yield TemplateError(f"network '{device}' has dhcp, but no address_pool")
    elif pool.ip_range_start("dhcp") is None:
        yield TemplateError(
            f"network '{device}' has dhcp, but its address pool '{pool}' has no ip_ranges 'dhcp'"
        )


def _parent_problems(device: LibvirtL2NetworkDevice) -> Iterator[DevopsError]:
    """VLANs and names go into commands."""
    parent = device.parent_iface
    for tag in (*device.vlan_ifaces, *([] if parent.tag is None else [parent.tag])):
        if not isinstance(tag, int) or tag not in VLANS:
            yield TemplateError(
                f"network '{device}' has VLAN {tag!r}, which is none from 1 to {VLANS.stop - 1}"
            )
    name = parent.phys_dev
    if name and not NAME.fullmatch(f"{name}.{parent.tag}" if parent.tag else str(name)):
        yield TemplateError(
            f"parent_iface of network '{device}' cannot be a network device: {name!r}"
        )
    if not name and parent.l2_net_dev == device.name:
        yield TemplateError(f"network '{device}' has itself as its parent_iface")


def _names_taken(device: LibvirtL2NetworkDevice) -> Iterator[ConflictError]:
    name = device.network_name
    with device.driver.asking(f"look up network '{name}'"):
        if find_network_by_name(device.driver.conn, name) is not None:
            yield taken("network", name, device.driver)
    if device.nwfilter is not None and device.nwfilter.exists():
        yield taken("network filter", device.nwfilter.name, device.driver)


def network_start_problems(device: LibvirtL2NetworkDevice) -> Iterator[DevopsError]:
    """What stands in the way of bringing a network up.

    Without its bridge, libvirt starts a network of forward mode ``bridge``, but no guest in it.
    """
    if device.forward.mode != BRIDGE:
        return
    name = str(device.parent_iface.phys_dev)
    where = device.driver.connection_string
    with device.driver.asking(f"look up network device {name}"):
        lookup = device.driver.conn.interfaceLookupByName
        link = found(lookup, name, libvirt.VIR_ERR_NO_INTERFACE)
        if link is None:
            yield NotFoundError(
                f"bridge {name} of network '{device}' is not there on {where}",
                hint=f"Make it: ip link add {name} type bridge",
            )
        elif etree.fromstring(link.XMLDesc()).get("type") != "bridge":
            yield ConflictError(f"{name} of network '{device}' is no bridge on {where}")
