"""Whether the rows of a manifest can be rows: how many, how long, of which classes and kinds.

What rows say is believed later, by commands that know nothing of an import. Parameters that nobody
here knows are kept as they are.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from ..errors import FormatError
from . import document
from .check_networks import LONGEST, once
from .plugs import plain_mac
from .row_params import LARGEST, LONGEST_TEXT, PARAMS, is_list_of

_LIBVIRT = "devops.driver.libvirt.libvirt_driver:Libvirt"
_CLASSES = {
    document.Driver: f"{_LIBVIRT}Driver",
    document.Node: f"{_LIBVIRT}Node",
    document.Volume: f"{_LIBVIRT}Volume",
    document.L2NetworkDevice: f"{_LIBVIRT}L2NetworkDevice",
    document.Interface: f"{_LIBVIRT}Interface",
    document.DiskDevice: f"{_LIBVIRT}DiskDevice",
    document.AddressPool: "devops.models.network:AddressPool",
}
"""What ``_class`` says; fuel-devops loads a module of that name."""

_MOST = {
    "groups": 256,
    "drivers": 256,
    "nodes": 1024,
    "networks": 1024,
    "address pools": 1024,
    "network pools": 4096,
    "network cards": 8192,
    "addresses": 16384,
    "volumes": 32768,
    "disks": 16384,
    "network configs": 16384,
    "snapshots of nodes": 16384,
    "files": 32768,
}
_LONGEST_DRIVER = 512  # characters that the column takes


def check_rows(manifest: document.Manifest) -> None:
    """Refuse rows that no database could have had.

    :raises FormatError: naming the row
    """
    environment = manifest.environment
    tables = _tables(environment)
    _check_numbers(manifest, tables)
    _check_unique(environment)
    for row in (environment, *chain.from_iterable(tables.values())):
        _check_row(row)
    for node in environment.nodes:
        for config in node.network_configs:
            _check_config(config)
        for snapshot in node.snapshots:
            where = f"snapshot {snapshot.name[:LONGEST]!r}"
            _require_text(where, snapshot.description, LONGEST_TEXT)


def _tables(environment: document.Environment) -> dict[str, list[document.Row]]:
    groups, nodes = environment.groups, list(environment.nodes)
    return {
        "groups": [*groups],
        "drivers": [group.driver for group in groups],
        "nodes": [*nodes],
        "networks": [*environment.networks],
        "address pools": [*environment.address_pools],
        "network pools": [pool for group in groups for pool in group.network_pools],
        "network cards": [card for node in nodes for card in node.interfaces],
        "volumes": [
            *(volume for group in groups for volume in group.volumes),
            *(volume for node in nodes for volume in node.volumes),
        ],
        "disks": [disk for node in nodes for disk in node.disks],
        "network configs": [config for node in nodes for config in node.network_configs],
    }


def _check_numbers(
    manifest: document.Manifest, tables: Mapping[str, Sequence[document.Row]]
) -> None:
    nodes = list(manifest.environment.nodes)
    addresses = sum(len(card.addresses) for node in nodes for card in node.interfaces)
    _check_number("addresses", addresses)
    _check_number("snapshots of nodes", sum(len(node.snapshots) for node in nodes))
    _check_number("files", len(manifest.files))
    for kind, rows in tables.items():
        _check_number(kind, len(rows))
        once(f"id of {kind}", (str(row.id) for row in rows))


def _check_unique(environment: document.Environment) -> None:
    """What a database, or whoever looks things up by it, takes only once."""
    nodes = list(environment.nodes)
    cards = [card for node in nodes for card in node.interfaces]
    once("node", (node.name for node in nodes))
    once("group", (group.name for group in environment.groups))
    once("address pool", (pool.name for pool in environment.address_pools))
    once("subnet", (pool.net for pool in environment.address_pools))
    once("network's row", (l2.name for l2 in environment.networks))
    once("MAC address", (plain_mac(card.mac_address) for card in cards))
    for group in environment.groups:
        once(f"volume of {group.name!r}", (volume.name for volume in group.volumes))
    for node in nodes:
        once(f"volume of {node.name!r}", (volume.name for volume in node.volumes))


def _check_number(kind: str, number: int) -> None:
    if number > _MOST[kind]:
        raise FormatError(f"the manifest has {number} {kind}, {_MOST[kind]} at most make sense")


def _check_row(row: document.Row) -> None:
    where = f"the row {row.id} of {type(row).__name__}"
    if not 0 <= row.id < LARGEST:
        raise FormatError("the manifest has an id of a row that no database gives")
    created = getattr(row, "created", None)
    if isinstance(created, datetime.datetime) and created.tzinfo is not None:
        raise FormatError(f"{where} was made at {created}, with a time zone")
    for name in ("role", "label", "type", "model", "aggregation"):
        value = getattr(row, name, None)
        if value is not None and (len(value) > LONGEST or not value.isprintable()):
            raise FormatError(f"{where} has {value[:LONGEST]!r} as its {name}")
    if isinstance(row, document.Driver):
        _require_text(where, row.name, _LONGEST_DRIVER)
    params = getattr(row, "params", None)
    if params is not None:
        _check_params(where, type(row), params)


def _check_config(config: document.NetworkConfig) -> None:
    for names in (config.networks, config.parents):
        if not is_list_of(str)(names or []):
            raise FormatError(
                f"the network config {config.label[:LONGEST]!r} has no lists of names"
            )


def _require_text(where: str, text: str, longest: int) -> None:
    if len(text) > longest or "\0" in text:
        raise FormatError(f"{where} has a text of {len(text)} characters that no database takes")


def _check_params(where: str, kind: type[document.Row], params: Mapping[str, Any]) -> None:
    if params.get("_class", _CLASSES[kind]) != _CLASSES[kind]:
        raise FormatError(f"{where} has the class {str(params['_class'])[:LONGEST]!r}")
    for name, is_fine in PARAMS[kind].items():
        value = params.get(name)
        if value is not None and not is_fine(value):
            told = "".join(c if c.isprintable() else "?" for c in repr(value)[:LONGEST])
            raise FormatError(f"{where} has {told} as its {name}")
