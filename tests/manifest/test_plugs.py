"""Cards of guests that run in a network whose bridge is the host's."""

from __future__ import annotations

from lxml import etree

from devops_snapshot.manifest.plugs import name_networks, plain_mac
from devops_snapshot.snapshot.domain_xml import parse, serialise

MAC = "64:0A:00:00:00:01"
LIVE = "<source network='env_lan' portid='1-2' bridge='br-lan'/>"
TOLD = "<source bridge='br-lan'/>"


def card(kind: str, source: str, mac: str = MAC) -> str:
    mac_address = f"<mac address='{mac}'/>"
    return f"<interface type='{kind}'>{mac_address}{source}<model type='e1000'/></interface>"


def snapshot(*cards: str) -> etree._Element:
    devices = f"<devices>{''.join(cards)}</devices>"
    return parse(f"<domainsnapshot><domain>{devices}</domain></domainsnapshot>")


def named(*cards: str) -> str:
    root = snapshot(*cards)
    name_networks(root, {plain_mac("64-0a:00-00:00:01"): "env_lan"})
    return serialise(root)


def test_the_network_is_said_again() -> None:
    expected = serialise(snapshot(card("network", "<source network='env_lan'/>")))
    for source in (LIVE, TOLD):
        assert named(card("bridge", source)) == expected


def test_other_cards_stay_as_they_are() -> None:
    others = [
        card("network", "<source network='other' bridge='virbr0'/>"),
        card("bridge", TOLD, mac="64:0a:00:00:00:02"),
        "<interface type='bridge'><source bridge='br0'/></interface>",
    ]
    assert named(*others) == serialise(snapshot(*others))
