"""Subnets for address pools."""

from __future__ import annotations

from pathlib import Path

import pytest
from netaddr import IPNetwork

from devops_snapshot.devops.subnets import Route, free_subnets, host_routes, parse_pool
from devops_snapshot.errors import DevopsError

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tun0\t0000000A\t0102000A\t0003\t0\t0\t0\t000000FF\t0\t0\t0
down\t00C8A8C0\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


def free(net: str, *taken: str, routes: list[Route] | None = None) -> list[str]:
    nets = [IPNetwork(name) for name in taken]
    return [str(net) for net in free_subnets(parse_pool(net), taken=nets, routes=routes or [])]


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        ("10.0.0.0/23:24", ["10.0.0.0/24", "10.0.1.0/24"]),
        ("10.0.0.7/23:24", ["10.0.0.0/24", "10.0.1.0/24"]),
        ("10.0.0.0/24,10.9.0.0/24:25", ["10.0.0.0/25", "10.0.0.128/25", "10.9.0.0/25"]),
        ("10.0.0.0/24:24", ["10.0.0.0/24"]),
        ("12.34.56.0/26", ["12.34.56.0/26"]),
        ("fd00:7::/63:64", ["fd00:7::/64", "fd00:7:0:1::/64"]),
        ("fd00:7::/64", ["fd00:7::/64"]),
    ],
)
def test_cutting(net: str, expected: list[str]) -> None:
    assert free(net)[:3] == expected


@pytest.mark.parametrize("net", ["", "10.0.0.0/33", "net", "10.0.0.0/16:", "10.0.0.0/16:8", None])
def test_what_is_no_network(net: object) -> None:
    with pytest.raises(DevopsError, match=r"is no network|cannot be cut"):
        parse_pool(net)


@pytest.mark.parametrize("taken", ["10.0.1.0/24", "10.0.1.77/32", "10.0.1.64/27"])
def test_what_is_taken_wholly_or_in_part_is_left_out(taken: str) -> None:
    assert free("10.0.0.0/22:24", taken) == ["10.0.0.0/24", "10.0.2.0/24", "10.0.3.0/24"]


def test_a_wider_network_takes_all_of_its_parts() -> None:
    assert free("10.0.0.0/22:24", "10.0.2.0/23") == ["10.0.0.0/24", "10.0.1.0/24"]
    assert free("10.0.0.0/22:24", "10.0.0.0/8") == []
    assert free("10.0.3.0/24", "10.0.0.0/8") == []


def test_versions_do_not_mix() -> None:
    assert free("0.0.1.0/24:24", "::/64") == ["0.0.1.0/24"]


def test_routes() -> None:
    routes = [
        Route(IPNetwork("10.0.1.0/24"), via_gateway=False),
        Route(IPNetwork("10.0.2.0/24"), via_gateway=True),
    ]
    assert free("10.0.0.0/22:24", routes=routes) == ["10.0.0.0/24", "10.0.3.0/24"]


def test_a_wide_route_counts_only_if_its_addresses_are_near() -> None:
    wide = IPNetwork("10.0.0.0/8")
    assert free("10.0.0.0/23:24", routes=[Route(wide, via_gateway=False)]) == []
    assert len(free("10.0.0.0/23:24", routes=[Route(wide, via_gateway=True)])) == 2
    same = IPNetwork("10.0.0.0/23")
    assert free("10.0.0.0/23:24", routes=[Route(same, via_gateway=True)]) == []


def test_a_network_without_prefix_may_be_routed_here() -> None:
    routes = [Route(IPNetwork("12.34.56.0/26"), via_gateway=False)]
    assert free("12.34.56.0/26", routes=routes) == ["12.34.56.0/26"]


def test_reading_the_routing_table(tmp_path: Path) -> None:
    table = tmp_path / "route"
    table.write_text(ROUTES)
    assert host_routes(table) == [
        Route(IPNetwork("10.0.2.0/24"), via_gateway=False),
        Route(IPNetwork("10.0.0.0/8"), via_gateway=True),
    ]
    assert host_routes(tmp_path / "none") == []
