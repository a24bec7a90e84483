"""What an environment may not have for now, refused before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import UnsupportedError
from ..hypervisor import connection_of

_FORWARD_MODES = (None, "nat", "route")


def check_exportable(environment: Any) -> None:
    """Refuse an environment of which something would be lost on the way.

    :raises UnsupportedError: naming all of it
    """
    for node in environment.get_nodes():
        connection_of(node)
    found = list(_unsupported(environment))
    if found:
        raise UnsupportedError(
            f"environment {environment.name!r} cannot be exported yet: {'; '.join(found)}"
        )


def _unsupported(environment: Any) -> Iterator[str]:
    for l2 in environment.get_env_l2_network_devices():
        if l2.params.get("vlan_ifaces"):
            yield f"network {l2.name!r} has vlan_ifaces {l2.params['vlan_ifaces']}"
        if any((l2.params.get("parent_iface") or {}).values()):
            yield f"network {l2.name!r} has a parent_iface"
        mode = (l2.params.get("forward") or {}).get("mode")
        if mode not in _FORWARD_MODES:
            yield f"network {l2.name!r} has forward mode {mode!r}"
    for group in environment.get_groups():
        if group.driver.params.get("enable_nwfilters"):
            yield f"group {group.name!r} has enable_nwfilters"
    for node in environment.get_nodes():
        for volume in node.get_volumes():
            if volume.params.get("multipath_count"):
                yield f"volume {volume.name!r} of node {node.name!r} is multipath"
