"""All that could keep an export from coming to life here, found before anything is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import netaddr
from django.apps import apps

from ..errors import ConflictError
from ..hypervisor import asking
from ..manifest import Manifest
from ..manifest.check import check_manifest, definition_of
from ..manifest.document import Network
from ..manifest.reading import parse_network
from ..snapshot.pool import pool_of
from .target import Target

# Conflicts of one kind that are named; with more, the reader has seen enough.
_SHOWN = 3


@dataclass(frozen=True)
class Plan:
    """What an import will do.

    :param paths: path of each exported file to its path in the pool here
    """

    manifest: Manifest
    target: Target
    paths: dict[str, str]


def make_plan(manifest: Manifest, target: Target, *, data_size: int) -> Plan:
    """Check everything, and settle where the files go.

    :param data_size: bytes that the files will take on disk
    :raises ConflictError: naming all that is in the way
    :raises FormatError: the manifest would reach outside the pool, or into the host
    :raises UnsupportedError: something of it cannot be imported yet
    :raises HypervisorError: this host cannot run such guests
    """
    check_manifest(manifest)
    plan = Plan(manifest, target, place_files(manifest, target.directory))
    for node in manifest.environment.nodes:
        definition = definition_of(node)
        target.emulator(definition.architecture, definition.type)
    _check_name(manifest)
    conflicts = [
        *_few(_address_conflicts(manifest)),
        *_few(_domain_conflicts(manifest, target)),
        *_few(_network_conflicts(manifest, target)),
        *_few(_file_conflicts(plan)),
        *_space_conflict(target, data_size),
    ]
    if conflicts:
        raise ConflictError(
            f"environment {manifest.environment.name!r} cannot come to this host: "
            + "; ".join(conflicts)
        )
    return plan


def _few(conflicts: Iterator[str]) -> list[str]:
    """The first ones of a kind, and how many more there are."""
    every = list(conflicts)
    more = len(every) - _SHOWN
    return [*every[:_SHOWN], *([f"and {more} more like that"] if more > 0 else [])]


def _check_name(manifest: Manifest) -> None:
    """With an environment of that name here, everything else is in the way as well."""
    name = manifest.environment.name
    if apps.get_model("devops", "Environment").objects.filter(name=name).exists():
        raise ConflictError(
            f"an environment {name!r} is in the database already",
            hint=f"Run 'dos.py erase {name}' first, or import on another host",
        )


def place_files(manifest: Manifest, directory: Path) -> dict[str, str]:
    """Every file keeps its name, in the pool's directory; a second of that name gets a number."""
    placed: dict[str, str] = {}
    taken: set[str] = set()
    for file in manifest.files:
        name = next(
            candidate
            for candidate in (file.name, *(f"{file.name}-{n}" for n in range(len(manifest.files))))
            if candidate not in taken
        )
        taken.add(name)
        placed[file.path] = str(directory / name)
    return placed


def _address_conflicts(manifest: Manifest) -> Iterator[str]:
    environment = manifest.environment
    wanted = [netaddr.IPNetwork(pool.net) for pool in environment.address_pools]
    for pool in apps.get_model("devops", "AddressPool").objects.select_related("environment"):
        if any(_overlap(netaddr.IPNetwork(pool.net), net) for net in wanted):
            yield f"address pool {pool.net} belongs to environment {pool.environment.name!r}"
    macs = [i.mac_address for node in environment.nodes for i in node.interfaces]
    for interface in apps.get_model("devops", "Interface").objects.filter(mac_address__in=macs):
        yield f"MAC address {interface.mac_address} is in the database already"


def _domain_conflicts(manifest: Manifest, target: Target) -> Iterator[str]:
    with asking("listing domains"):
        domains = target.conn.listAllDomains()
    names = {domain.name() for domain in domains}
    uuids = {domain.UUIDString(): domain.name() for domain in domains}
    for node in manifest.environment.nodes:
        wanted = definition_of(node)
        if wanted.name in names:
            yield f"a domain {wanted.name!r} is there already"
        elif wanted.uuid in uuids:
            yield f"UUID {wanted.uuid} of node {node.name!r} belongs to {uuids[wanted.uuid]!r}"


def _network_conflicts(manifest: Manifest, target: Target) -> Iterator[str]:
    with asking("listing networks"):
        there = [
            parse_network(network.XMLDesc(0), active=bool(network.isActive()))
            for network in target.conn.listAllNetworks()
        ]
    wanted = (l2.network for l2 in manifest.environment.networks if l2.network is not None)
    for network in wanted:
        for other in there:
            if other.name == network.name:
                yield f"a network {network.name!r} is there already"
            elif _overlap(_subnet(network), _subnet(other)):
                yield (
                    f"network {network.name!r} ({network.ip}/{network.prefix}) overlaps with "
                    f"{other.name!r} ({other.ip}/{other.prefix})"
                )


def _subnet(network: Network) -> netaddr.IPNetwork | None:
    if not network.ip or network.prefix is None:
        return None
    return netaddr.IPNetwork(f"{network.ip}/{network.prefix}").cidr


def _overlap(one: netaddr.IPNetwork | None, other: netaddr.IPNetwork | None) -> bool:
    return one is not None and other is not None and (one in other or other in one)


def _file_conflicts(plan: Plan) -> Iterator[str]:
    pool = pool_of(plan.target)
    with asking(f"looking into storage pool {pool.name()}"):
        pool.refresh()
        names = set(pool.listVolumes())
    for path in plan.paths.values():
        if Path(path).name in names or Path(path).exists():
            yield f"a file {path} is there already"


def _space_conflict(target: Target, data_size: int) -> Iterator[str]:
    pool = pool_of(target)
    with asking(f"asking for the size of storage pool {pool.name()}"):
        available = pool.info()[3]
    if data_size > available:
        yield (
            f"storage pool {pool.name()!r} has {available} bytes free, "
            f"the export needs about {data_size}"
        )
