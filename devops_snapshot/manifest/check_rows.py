"""Whether the rows of a manifest can be rows: how many, how long, of which classes and kinds.

What rows say is believed later, by commands that know nothing of an import. Parameters that nobody
here knows are kept as they are.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from ..errors import FormatError
from . import document
from .addresses import is_address
from .check_networks import FORWARD_MODES, LONGEST, once
from .plugs import plain_mac

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
_LONGEST_TEXT = 1 << 20  # characters of a parameter; cloud-init's data is the longest
_LARGEST = 1 << 53
_PATHS, _PORTS = range(65), range(1, 1 << 16)


def check_rows(manifest: document.Manifest) -> None:
    """Refuse rows that no database could have had.

    :raises FormatError: naming the row
    """
    environment = manifest.environment
    groups, nodes = environment.groups, list(environment.nodes)
    networks, pools = list(environment.networks), environment.address_pools
    owners: list[document.Group | document.Node] = [*groups, *nodes]
    volumes = [volume for owner in owners for volume in owner.volumes]
    cards = list(chain.from_iterable(node.interfaces for node in nodes))
    configs = list(chain.from_iterable(node.network_configs for node in nodes))
    disks = list(chain.from_iterable(node.disks for node in nodes))
    network_pools = list(chain.from_iterable(group.network_pools for group in groups))
    drivers = [group.driver for group in groups]
    rows: dict[str, list[document.Row]] = {
        "groups": list(groups),
        "nodes": list(nodes),
        "networks": list(networks),
        "address pools": list(pools),
        "network pools": list(network_pools),
        "network cards": list(cards),
        "volumes": list(volumes),
        "disks": list(disks),
        "network configs": list(configs),
    }
    _check_number("addresses", sum(len(card.addresses) for card in cards))
    _check_number("snapshots of nodes", sum(len(node.snapshots) for node in nodes))
    _check_number("files", len(manifest.files))
    for kind, of_kind in rows.items():
        _check_number(kind, len(of_kind))
        once(f"id of {kind}", (str(row.id) for row in of_kind))
    once("node", (node.name for node in nodes))
    once("group", (group.name for group in groups))
    once("address pool", (pool.name for pool in pools))
    once("subnet", (pool.net for pool in pools))
    once("network's row", (l2.name for l2 in networks))
    once("MAC address", (plain_mac(card.mac_address) for card in cards))
    for owner in owners:
        once(f"volume of {owner.name!r}", (volume.name for volume in owner.volumes))
    for row in (environment, *groups, *drivers, *chain.from_iterable(rows.values())):
        _check_row(row)
    for config in configs:
        _check_config(config)
    for snapshot in chain.from_iterable(node.snapshots for node in nodes):
        _require_text(f"snapshot {snapshot.name[:LONGEST]!r}", snapshot.description, _LONGEST_TEXT)


def _check_number(kind: str, number: int) -> None:
    if number > _MOST[kind]:
        raise FormatError(f"the manifest has {number} {kind}, {_MOST[kind]} at most make sense")


def _check_row(row: document.Row) -> None:
    where = f"the row {row.id} of {type(row).__name__}"
    if not 0 <= row.id < _LARGEST:
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
        if not _is_list_of(str)(names or []):
            raise FormatError(
                f"the network config {config.label[:LONGEST]!r} has no lists of names"
            )


def _require_text(where: str, text: str, longest: int) -> None:
    if len(text) > longest or "\0" in text:
        raise FormatError(f"{where} has a text of {len(text)} characters that no database takes")


def _check_params(where: str, kind: type[document.Row], params: Mapping[str, Any]) -> None:
    if params.get("_class", _CLASSES[kind]) != _CLASSES[kind]:
        raise FormatError(f"{where} has the class {str(params['_class'])[:LONGEST]!r}")
    for name, is_fine in _PARAMS[kind].items():
        value = params.get(name)
        if value is not None and not is_fine(value):
            told = "".join(c if c.isprintable() else "?" for c in repr(value)[:LONGEST])
            raise FormatError(f"{where} has {told} as its {name}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and "\0" not in value


def _is_number(value: Any) -> bool:
    is_one = isinstance(value, (int, float)) and math.isfinite(value)
    return is_one and -_LARGEST < value < _LARGEST


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and -_LARGEST < value < _LARGEST


def _is_list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(v, kind) for v in value)


def _is_forward(value: Any) -> bool:
    return isinstance(value, dict) and value.get("mode") in FORWARD_MODES


def _are_reserved(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_address, value.values()))


def _are_ranges(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_range, value.values()))


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(is_address, value))


def _of(is_fine: Callable[[Any], bool], names: str) -> Iterator[tuple[str, Callable[[Any], bool]]]:
    return ((name, is_fine) for name in names.split())


def _table(
    *columns: Iterable[tuple[str, Callable[[Any], bool]]],
) -> dict[str, Callable[[Any], bool]]:
    return dict(chain.from_iterable(columns))


_PARAMS: dict[type[document.Row], dict[str, Callable[[Any], bool]]] = {
    document.Driver: _table(
        _of(_is_text, "connection_string storage_pool_name vnc_password"),
        _of(_is_whole, "stp hpet use_host_cpu enable_acpi enable_nwfilters use_hugepages"),
        _of(_is_whole, "reboot_timeout"),
    ),
    document.Node: _table(
        _of(_is_text, "uuid hypervisor os_type architecture cloud_init_volume_name"),
        _of(_is_text, "cloud_init_iface_up bmc_user bmc_password kernel_cmd deploy_check_cmd"),
        _of(_is_list_of(str), "boot"),
        _of(_is_list_of(dict), "numa"),
        _of(_is_whole, "has_vnc has_videocard bmc_network"),
        _of(_is_number, "vcpu memory bootmenu_timeout bmc_port"),
        _of(_is_number, "bootstrap_timeout deploy_timeout"),
        _of(lambda value: type(value) is int and value in _PORTS, "ssh_port"),
    ),
    document.L2NetworkDevice: _table(
        _of(_is_text, "uuid tftp_root_dir"),
        _of(_is_whole, "dhcp stp has_pxe_server"),
        _of(_is_forward, "forward"),
    ),
    document.Volume: _table(
        _of(_is_text, "uuid format source_image serial wwn shared_backing_store_name"),
        _of(_is_text, "cloudinit_meta_data cloudinit_user_data"),
        _of(_is_number, "capacity"),
        _of(lambda value: type(value) is int and value in _PATHS, "multipath_count"),
    ),
    document.DiskDevice: _table(_of(_is_text, "device type bus target_dev")),
    document.Interface: _table(_of(_is_list_of(str), "features")),
    document.AddressPool: _table(
        _of(_is_whole, "vlan_start vlan_end tag"),
        _of(_are_reserved, "ip_reserved"),
        _of(_are_ranges, "ip_ranges"),
    ),
}
"""Of each parameter that commands read, whether a value that is not None is one."""
