"""Which networks the cards of a machine are plugged into."""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree


def name_networks(root: etree._Element, networks: Mapping[str, str]) -> None:
    """Say in place which network a card is in, where libvirt only tells the bridge.

    So it does of guests that run in a network of forward mode ``bridge``, and then in their
    snapshots.

    :param root: any document with ``<interface>`` in it
    :param networks: MAC address (lower case) to the name of the network in libvirt
    """
    for interface in root.iter("interface"):
        mac, source = interface.find("mac"), interface.find("source")
        if interface.get("type") != "bridge" or mac is None or source is None:
            continue
        name = networks.get(mac.get("address", "").lower())
        if name is not None:
            interface.set("type", "network")
            source.clear()
            source.set("network", name)
