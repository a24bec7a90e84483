"""What an environment may not have for now, refused before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import FormatError, UnsupportedError
from ..hypervisor import asking, connection_of, domain_of
from ..manifest.check import FORWARD_MODES
from ..manifest.definition import check_definition
from ..manifest.reading import read_network
from ..snapshot.domain_xml import parse
from ..snapshot.pool import is_local


def check_exportable(environment: Any) -> None:
    """Refuse an environment of which something would be lost on the way.

    :raises UnsupportedError: naming all of it
    """
    for node in environment.get_nodes():
        connection_of(node)
    found = [*_of_networks(environment), *_of_nodes(environment)]
    if found:
        raise UnsupportedError(
            f"environment {environment.name!r} cannot be exported yet: {'; '.join(found)}"
        )


def _of_networks(environment: Any) -> Iterator[str]:
    for l2 in environment.get_env_l2_network_devices():
        if l2.params.get("vlan_ifaces"):
            yield f"network {l2.name!r} has vlan_ifaces {l2.params['vlan_ifaces']}"
        if any((l2.params.get("parent_iface") or {}).values()):
            yield f"network {l2.name!r} has a parent_iface"
        if l2.params.get("has_pxe_server"):
            yield f"network {l2.name!r} has_pxe_server"
        mode = (l2.params.get("forward") or {}).get("mode")
        if mode not in FORWARD_MODES:
            yield f"network {l2.name!r} has forward mode {mode!r}"
    for group in environment.get_groups():
        if group.driver.params.get("enable_nwfilters"):
            yield f"group {group.name!r} has enable_nwfilters"


def _of_nodes(environment: Any) -> Iterator[str]:
    for group in environment.get_groups():
        if "connection_string" in group.driver.params and not is_local(group.driver):
            yield f"group {group.name!r} is on another host: export it there"
    rows = environment.get_env_l2_network_devices()
    networks = {network.name for network in map(read_network, rows) if network is not None}
    for node in environment.get_nodes():
        for volume in node.get_volumes():
            if volume.params.get("multipath_count"):
                yield f"volume {volume.name!r} of node {node.name!r} is multipath"
        yield from _of_domain(node, networks)


def _of_domain(node: Any, networks: set[str]) -> Iterator[str]:
    """What an import would refuse."""
    domain = domain_of(node)
    with asking(f"reading the definition of {domain.name()}"):
        xml = domain.XMLDesc(0)
    try:
        definition = check_definition(f"node {node.name!r}", parse(xml))
    except FormatError as error:
        yield error.message
        return
    for name in sorted(definition.networks - networks):
        yield f"node {node.name!r} is plugged into {name!r}, which is no network of its own"
