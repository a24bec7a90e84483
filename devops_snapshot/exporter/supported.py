"""What an environment may not have for now, refused before anything is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import FormatError, UnsupportedError
from ..hypervisor import asking, connection_of, domain_of
from ..manifest.check_networks import FORWARD_MODES
from ..manifest.definition import check_definition
from ..manifest.nwfilters import filter_of_interface, filter_of_network
from ..manifest.plugs import name_networks
from ..manifest.reading import networks_by_mac, read_network
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
        if l2.params.get("has_pxe_server"):
            yield f"network {l2.name!r} has_pxe_server"
        mode = (l2.params.get("forward") or {}).get("mode")
        if mode not in FORWARD_MODES:
            yield f"network {l2.name!r} has forward mode {mode!r}"


def _of_nodes(environment: Any) -> Iterator[str]:
    hosts = {
        None if is_local(group.driver) else group.driver.connection_string
        for group in environment.get_groups()
        if "connection_string" in group.driver.params
    }
    if len(hosts) > 1:
        yield "its groups are on several hosts"
    rows = environment.get_env_l2_network_devices()
    networks = {network.name for network in map(read_network, rows) if network is not None}
    nwfilters, wrong = _nwfilters(environment)
    yield from wrong
    by_mac = networks_by_mac(environment)
    for node in environment.get_nodes():
        yield from _of_domain(node, networks, nwfilters, by_mac)


def _nwfilters(environment: Any) -> tuple[set[str], list[str]]:
    """The names of all network filters, and what is wrong with them."""
    names, wrong = set(), []
    rows: list[tuple[Any, Any]] = [
        (filter_of_network, row) for row in environment.get_env_l2_network_devices()
    ]
    for node in environment.get_nodes():
        rows += [(filter_of_interface, row) for row in node.interface_set.all()]
    for read, row in rows:
        try:
            nwfilter = read(row)
        except UnsupportedError as error:
            wrong.append(error.message)
            continue
        if nwfilter is not None:
            names.add(nwfilter.name)
    return names, wrong


def _of_domain(
    node: Any, networks: set[str], nwfilters: set[str], by_mac: Mapping[str, str]
) -> Iterator[str]:
    """What an import would refuse.

    :param by_mac: MAC address of a card to the name of its network
    """
    domain = domain_of(node)
    with asking(f"reading the definition of {domain.name()}"):
        xml = domain.XMLDesc(0)
    try:
        root = parse(xml)
        name_networks(root, by_mac)
        definition = check_definition(f"node {node.name!r}", root)
    except FormatError as error:
        yield error.message
        return
    for name in sorted(definition.networks - networks):
        yield f"node {node.name!r} is plugged into {name!r}, which is no network of its own"
    for name in sorted(definition.nwfilters - nwfilters):
        yield f"node {node.name!r} has the network filter {name!r}, which is not there"
