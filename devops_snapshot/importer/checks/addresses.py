"""MAC addresses and subnets that are in use here."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import netaddr
from django.apps import apps

from ...manifest.document import Network
from ..findings import Finding, Verdict
from .routes import read_routes
from .scene import Scene

_ISOLATED = "--isolated brings it beside that, with networks that have no address on this host"
_OPTIONS = ("--isolated",)
_NEW_MACS = "--isolated keeps the two apart; --name NEW --disks-only gives new MAC addresses"


def check_addresses(scene: Scene) -> Iterator[Finding]:
    """Copies whose networks have no address on this host cannot meet, and may be alike."""
    if scene.choices.isolated:
        return
    yield from _check_mac_addresses(scene)
    yield from _check_pools(scene)
    yield from _check_networks(scene)
    yield from _check_public(scene)
    yield from _check_routes(scene)


def _check_mac_addresses(scene: Scene) -> Iterator[Finding]:
    nodes = scene.manifest.environment.nodes
    wanted = [interface.mac_address for node in nodes for interface in node.interfaces]
    rows = apps.get_model("devops", "Interface").objects.filter(mac_address__in=wanted)
    for interface in rows.select_related("node"):
        yield Finding(
            "MAC addresses",
            Verdict.AVOIDABLE,
            f"MAC address {interface.mac_address} is in the database already, "
            f"of node {interface.node.name!r}",
            _NEW_MACS,
            _OPTIONS,
        )


def _check_pools(scene: Scene) -> Iterator[Finding]:
    wanted = [netaddr.IPNetwork(pool.net) for pool in scene.manifest.environment.address_pools]
    for pool in apps.get_model("devops", "AddressPool").objects.select_related("environment"):
        if any(_overlap(netaddr.IPNetwork(pool.net), net) for net in wanted):
            what = f"address pool {pool.net} belongs to environment {pool.environment.name!r}"
            yield Finding("subnets", Verdict.AVOIDABLE, what, _ISOLATED, _OPTIONS)


def _check_networks(scene: Scene) -> Iterator[Finding]:
    for network in scene.networks:
        for other in scene.networks_here:
            if _overlap(_subnet(network), _subnet(other)):
                yield Finding(
                    "subnets",
                    Verdict.AVOIDABLE,
                    f"network {network.name!r} ({network.ip}/{network.prefix}) overlaps with "
                    f"{other.name!r} ({other.ip}/{other.prefix})",
                    _ISOLATED,
                    _OPTIONS,
                )


def _check_public(scene: Scene) -> Iterator[Finding]:
    """What this host knows to be elsewhere, it would then look for among strange guests."""
    for network in scene.networks:
        subnet = _subnet(network)
        if subnet is not None and ipaddress.ip_network(str(subnet)).is_global:
            told = f"{network.name!r} ({subnet}) has addresses of the Internet"
            remedy = "While it is here, this host reaches its guests at them; " + _ISOLATED
            yield Finding("subnets", Verdict.NOTE, told, remedy)


def _check_routes(scene: Scene) -> Iterator[Finding]:
    """libvirt refuses a subnet that the host has a route to; a wider route is hidden in part."""
    known = {_subnet(network) for network in scene.networks_here}
    routes = [route for route in read_routes(scene.target) if route.subnet not in known]
    for network in scene.networks:
        subnet = _subnet(network)
        for route in routes:
            if subnet is None or not _overlap(subnet, route.subnet):
                continue
            what = f"{network.name!r} ({subnet}) overlaps with the route to {route}"
            if subnet in route.subnet and subnet != route.subnet:
                hidden = "While it is here, that part of the route leads to the environment"
                yield Finding("host routes", Verdict.NOTE, what, hidden)
            else:
                yield Finding("host routes", Verdict.AVOIDABLE, what, _ISOLATED, _OPTIONS)


def _subnet(network: Network) -> netaddr.IPNetwork | None:
    if not network.ip or network.prefix is None:
        return None
    return netaddr.IPNetwork(f"{network.ip}/{network.prefix}").cidr


def _overlap(one: netaddr.IPNetwork | None, other: netaddr.IPNetwork | None) -> bool:
    return one is not None and other is not None and (one in other or other in one)
