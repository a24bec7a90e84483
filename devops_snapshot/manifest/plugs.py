"""Which networks the cards of a machine are plugged into, and behind which filters."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lxml import etree

_NO_DIGIT = re.compile(r"[^0-9a-f]")


def plain_mac(mac: str) -> str:
    """What all spellings of an address have in common: rows have them with ``-`` as well."""
    return _NO_DIGIT.sub("", mac.lower())


def name_networks(root: etree._Element, networks: Mapping[str, str]) -> None:
    """Say in place which network a card is in, where libvirt only tells the bridge.

    So it does of guests that run in a network of forward mode ``bridge``, and then in their
    snapshots.

    :param root: any document with ``<interface>`` in it
    :param networks: :func:`plain_mac` to the name of the network in libvirt
    """
    for interface in root.iter("interface"):
        mac, source = interface.find("mac"), interface.find("source")
        if interface.get("type") != "bridge" or mac is None or source is None:
            continue
        name = networks.get(plain_mac(mac.get("address", "")))
        if name is not None:
            interface.set("type", "network")
            source.clear()
            source.set("network", name)


def name_filters(root: etree._Element, filters: Mapping[str, str]) -> None:
    """Call filters in place as a manifest does, where they are called otherwise here.

    :param root: any document with ``<interface>`` in it
    :param filters: names here to names in the manifest
    """
    for reference in root.iterfind(".//interface/filterref[@filter]"):
        name = reference.get("filter", "")
        reference.set("filter", filters.get(name, name))
