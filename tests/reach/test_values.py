"""What env-shell computes before it touches anything."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from itertools import islice

import pytest

from devops_snapshot.reach.addresses import spare_addresses
from devops_snapshot.reach.attachment import Attachment, device_name
from devops_snapshot.reach.files import ssh_patterns
from devops_snapshot.reach.forwarding import Rules, for_iptables, for_nft, rules_for
from devops_snapshot.reach.place import Place
from tests.bed import Bed

NETWORK = Attachment(
    number=0,
    row=None,
    network="admin",
    device="admin",
    bridge="virbr0",
    isolated=True,
    gateway=ip_interface("10.109.0.1/24"),
    mac=None,
    nat=False,
    routed=False,
    dhcp=None,
    pool=None,
)


def network(number: int, device: str, *, nat: bool = False, routed: bool = False) -> Attachment:
    gateway = ip_interface(f"10.109.{number}.1/24")
    return replace(NETWORK, number=number, device=device, gateway=gateway, nat=nat, routed=routed)


def spare(net: str, *, ranges: list[str], dhcp: list[str], taken: list[str]) -> list[str]:
    def ends(text: str) -> tuple[object, object]:
        first, last = text.split("-")
        return ip_address(first), ip_address(last)

    found = spare_addresses(
        ip_network(net),
        taken={ip_address(each) for each in taken},
        ranges=[ends(each) for each in ranges],
        dhcp=[ends(each) for each in dhcp],
    )
    return list(map(str, islice(found, 300)))


def test_addresses_that_nobody_may_want_come_first() -> None:
    found = spare(
        "10.0.0.0/28",
        ranges=["10.0.0.2-10.0.0.9"],
        dhcp=["10.0.0.8-10.0.0.11"],
        taken=["10.0.0.1", "10.0.0.13", "10.0.0.3"],
    )
    outside, of_ranges, of_dhcp = [14, 12], [7, 6, 5, 4, 2], [11, 10, 9, 8]
    assert found == [f"10.0.0.{last}" for last in (*outside, *of_ranges, *of_dhcp)]


@pytest.mark.parametrize(
    ("net", "count"), [("10.0.0.0/30", 1), ("10.0.0.0/31", 0), ("10.0.0.0/32", 0)]
)
def test_small_subnets(net: str, count: int) -> None:
    assert len(spare(net, ranges=[], dhcp=[], taken=["10.0.0.1"])) == count


def test_large_subnets_are_not_searched_to_the_end() -> None:
    everything = ["fd00::-fd00::ffff:ffff:ffff:ffff"]
    assert len(spare("fd00::/64", ranges=everything, dhcp=[], taken=[])) == 300


@pytest.mark.parametrize(
    ("subnet", "patterns"),
    [
        ("10.109.3.0/24", ["10.109.3.*"]),
        ("10.109.0.0/16", ["10.109.*"]),
        ("10.0.0.0/8", ["10.*"]),
        ("10.109.4.0/23", ["10.109.4.*", "10.109.5.*"]),
        ("140.82.112.0/20", []),
        ("0.0.0.0/0", []),
        ("fd00::/64", []),
        ("10.109.4.8/30", ["10.109.4.8", "10.109.4.9", "10.109.4.10", "10.109.4.11"]),
    ],
)
def test_ssh_patterns_match_the_subnet_and_nothing_else(subnet: str, patterns: list[str]) -> None:
    """Of what anybody else may have, too, keys are checked as always."""
    assert ssh_patterns(ip_network(subnet)) == patterns


def test_devices_are_called_after_their_networks() -> None:
    names = ["admin", "fuelweb_admin", "a network/of its own", "a network/of mine", "lo", "uplink"]
    names += ["", "-n", "..", "öffentlich", "admin", "x" * 200, "x" * 201]
    taken: list[str] = []
    for number, name in enumerate(names):
        taken.append(device_name(name, number, taken))
    assert taken == [
        *("admin", "fuelweb_admin", "a-network-of-it", "a-network-of-mi", "lo-4", "uplink-5"),
        *("net-6", "n", "net-8", "ffentlich", "admin-10", "x" * 15, "xxxxxxxxx-12"),
    ]


def test_devices_of_the_host_fit_into_what_the_kernel_takes() -> None:
    place = Place.of("x" * 255)
    assert max(len(name) for name in (place.port(9999), place.port("out"), place.uplink)) <= 15
    assert place != Place.of("y")


def test_only_what_led_somewhere_leads_there() -> None:
    inner, nat = network(0, "inner"), network(1, "nat", nat=True)
    routed, other = network(2, "routed", routed=True), network(3, "other", routed=True)
    assert rules_for([inner, nat], uplink=True) == Rules(
        (("nat", "uplink"),), (("nat", "10.109.1.0/24"),)
    )
    assert rules_for([inner, nat], uplink=False).passages == ()
    passages = rules_for([inner, nat, routed, other], uplink=True).passages
    assert passages == (
        ("nat", "uplink"),
        ("nat", "routed"),
        ("nat", "other"),
        ("routed", "other"),
        ("other", "routed"),
    )


def test_both_tools_take_the_rules(bed: Bed) -> None:
    """Twice, for rules may be there already."""
    rules = rules_for([network(1, "nat", nat=True), network(2, "r", routed=True)], uplink=True)
    host = bed.host("alpha")
    for tool, text in (("nft -f -", for_nft(rules)), ("iptables-restore", for_iptables(rules))):
        script = f"cat > /run/rules; {tool} < /run/rules; {tool} < /run/rules"
        host.run(["unshare", "--net", "sh", "-ec", script], input=text)
