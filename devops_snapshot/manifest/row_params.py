"""Which values the parameters of rows can have, as far as commands read them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

from . import document
from .addresses import is_address
from .check_networks import FORWARD_MODES

LONGEST_TEXT = 1 << 20
"""Characters of a parameter; cloud-init's data is the longest."""

LARGEST = 1 << 53
"""Numbers are below it, so that every reader of JSON reads the same."""

_PATHS, _PORTS = range(65), range(1, 1 << 16)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and "\0" not in value


def _is_number(value: Any) -> bool:
    is_one = isinstance(value, (int, float)) and math.isfinite(value)
    return is_one and -LARGEST < value < LARGEST


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and -LARGEST < value < LARGEST


def is_list_of(kind: type) -> Callable[[Any], bool]:
    """The question whether something is a list of these."""
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


PARAMS: dict[type[document.Row], dict[str, Callable[[Any], bool]]] = {
    document.Driver: _table(
        _of(_is_text, "connection_string storage_pool_name vnc_password"),
        _of(_is_whole, "stp hpet use_host_cpu enable_acpi enable_nwfilters use_hugepages"),
        _of(_is_whole, "reboot_timeout"),
    ),
    document.Node: _table(
        _of(_is_text, "uuid hypervisor os_type architecture cloud_init_volume_name"),
        _of(_is_text, "cloud_init_iface_up bmc_user bmc_password kernel_cmd deploy_check_cmd"),
        _of(is_list_of(str), "boot"),
        _of(is_list_of(dict), "numa"),
        _of(_is_whole, "has_vnc has_videocard bmc_network"),
        _of(_is_number, "vcpu memory bootmenu_timeout bmc_port"),
        _of(_is_number, "bootstrap_timeout deploy_timeout"),
        _of(lambda value: type(value) is int and value in _PORTS, "ssh_port"),
    ),
    document.L2NetworkDevice: _table(
        _of(_is_text, "uuid tftp_root_dir"),
        _of(_is_whole, "dhcp stp"),
        _of(lambda value: value in (False, 0), "has_pxe_server"),  # a directory of the host
        _of(_is_forward, "forward"),
    ),
    document.Volume: _table(
        _of(_is_text, "uuid format source_image serial wwn shared_backing_store_name"),
        _of(_is_text, "cloudinit_meta_data cloudinit_user_data"),
        _of(_is_number, "capacity"),
        _of(lambda value: type(value) is int and value in _PATHS, "multipath_count"),
    ),
    document.DiskDevice: _table(_of(_is_text, "device type bus target_dev")),
    document.Interface: _table(_of(is_list_of(str), "features")),
    document.AddressPool: _table(
        _of(_is_whole, "vlan_start vlan_end tag"),
        _of(_are_reserved, "ip_reserved"),
        _of(_are_ranges, "ip_ranges"),
    ),
}
"""Of each parameter that commands read, whether a value that is not None is one."""
