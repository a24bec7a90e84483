"""Network filters, with which fuel-devops blocks traffic: from libvirt to the manifest and back.

Every network of a driver with ``enable_nwfilters`` has one, and every network card one that
includes it. They have no rules, or, while somebody has blocked them, the one that drops everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import libvirt
from lxml import etree

from ..connection import found
from ..contract import Driver, Interface, L2NetworkDevice
from ..errors import UnsupportedError
from ..hypervisor import asking
from ..snapshot.domain_xml import parse
from . import document

_NETWORK_PRIORITY, _INTERFACE_PRIORITY = -1000, -950
_DROP_ALL = {"action": "drop", "direction": "inout"}


def network_filter_name(environment: str, l2_network_device: str) -> str:
    """The name of a network's filter; fuel-devops's, as the next one."""
    return f"{environment}_{l2_network_device}"


def interface_filter_name(network_filter: str, mac: str) -> str:
    """The name of a network card's filter."""
    return f"{network_filter}_{mac}"


def filter_of_network(row: L2NetworkDevice) -> document.NwFilter | None:
    """The filter of a network; None where there is none.

    :raises UnsupportedError: it has rules of another kind
    """
    return _read(row.driver, network_filter_name(row.group.environment.name, row.name))


def filter_of_interface(row: Interface) -> document.NwFilter | None:
    """The filter of a network card, likewise."""
    network = row.l2_network_device
    if network is None:
        return None
    includes = network_filter_name(network.group.environment.name, network.name)
    return _read(row.node.driver, interface_filter_name(includes, row.mac_address))


def _read(driver: Driver, name: str) -> document.NwFilter | None:
    if not driver.params.get("enable_nwfilters"):
        return None
    with asking(f"reading network filter {name}"):
        nwfilter = found(driver.conn.nwfilterLookupByName, name, libvirt.VIR_ERR_NO_NWFILTER)
        return None if nwfilter is None else parse_nwfilter(nwfilter.XMLDesc(0))


def nwfilters_of(manifest: document.Manifest) -> Iterator[document.NwFilter]:
    """All filters; those of networks before those of cards, which include them."""
    environment = manifest.environment
    cards = chain.from_iterable(node.interfaces for node in environment.nodes)
    filters = chain((l2.nwfilter for l2 in environment.networks), (card.nwfilter for card in cards))
    return (nwfilter for nwfilter in filters if nwfilter is not None)


def parse_nwfilter(xml: str) -> document.NwFilter:
    """Take a filter apart.

    :raises UnsupportedError: it is none of fuel-devops's
    """
    root = parse(xml)
    included = root.findall("filterref")
    rules = root.findall("rule")
    known = len(included) + len(rules) + len(root.findall("uuid")) == len(root)
    if not known or len(included) > 1 or any(map(len, included)) or not _is_block(rules):
        raise UnsupportedError(
            f"network filter {root.get('name')!r} has rules of its own, which cannot be exported"
        )
    return document.NwFilter(
        name=root.get("name", ""),
        includes=included[0].get("filter") if included else None,
        blocked=bool(rules),
    )


def _is_block(rules: list[etree._Element]) -> bool:
    """No rule, or the one that drops everything."""
    return not rules or (
        len(rules) == 1
        and all(rules[0].get(key) == value for key, value in _DROP_ALL.items())
        and [(child.tag, len(child.attrib)) for child in rules[0]] == [("all", 0)]
    )


def build_nwfilter(nwfilter: document.NwFilter) -> str:
    """libvirt's XML of a filter that is not there yet; what it includes has to be."""
    root = etree.Element("filter", name=nwfilter.name)
    if nwfilter.includes is not None:
        etree.SubElement(root, "filterref", filter=nwfilter.includes)
    if nwfilter.blocked:
        priority = _NETWORK_PRIORITY if nwfilter.includes is None else _INTERFACE_PRIORITY
        rule = etree.SubElement(root, "rule", _DROP_ALL, priority=str(priority))
        etree.SubElement(rule, "all")
    return etree.tostring(root, encoding="unicode")
