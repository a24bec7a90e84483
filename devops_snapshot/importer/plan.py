"""All that could keep an export from coming to life here, found before anything is touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libvirt
import netaddr
from django.apps import apps

from ..errors import ConflictError, FormatError
from ..hypervisor import asking
from ..manifest import Manifest
from ..manifest.reading import parse_network
from ..snapshot.pool import pool_of
from .domain import check_definition
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
    """
    plan = Plan(manifest, target, place_files(manifest, target.directory))
    for node in manifest.environment.nodes:
        check_definition(node)
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
        if file.name in ("", ".", "..") or "/" in file.name or "\0" in file.name:
            raise FormatError(f"the manifest names a file {file.path!r}, which is no file name")
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
    nets = [pool.net for pool in environment.address_pools]
    pools = apps.get_model("devops", "AddressPool").objects.filter(net__in=nets)
    for pool in pools.select_related("environment"):
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
        checked = check_definition(node)
        if checked.name in names:
            yield f"a domain {checked.name!r} is there already"
        elif checked.uuid in uuids:
            yield f"UUID {checked.uuid} of node {node.name!r} belongs to {uuids[checked.uuid]!r}"


def _network_conflicts(manifest: Manifest, target: Target) -> Iterator[str]:
    with asking("listing networks"):
        there = [
            parse_network(network.XMLDesc(0), active=bool(network.isActive()))
            for network in target.conn.listAllNetworks()
        ]
    for l2 in manifest.environment.networks:
        wanted = l2.network
        if wanted is None:
            continue
        for other in there:
            if other.name == wanted.name:
                yield f"a network {wanted.name!r} is there already"
            elif _overlap(_subnet(wanted.ip, wanted.prefix), _subnet(other.ip, other.prefix)):
                yield (
                    f"network {wanted.name!r} ({wanted.ip}/{wanted.prefix}) overlaps with "
                    f"{other.name!r} ({other.ip}/{other.prefix})"
                )


def _subnet(ip: str | None, prefix: int | None) -> netaddr.IPNetwork | None:
    return netaddr.IPNetwork(f"{ip}/{prefix}").cidr if ip and prefix is not None else None


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


def network_uuid_is_free(target: Target, uuid: str) -> bool:
    """Whether no network of the host bears it."""
    try:
        target.conn.networkLookupByUUIDString(uuid)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
            raise
        return True
    return False
