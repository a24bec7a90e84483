"""Environment templates (``devops_settings``): read, and checked before anything is made."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from devops_snapshot.errors import DevopsError, TemplateError, UnsupportedError

from .models.address_pool import AddressPool
from .models.driver import RENAMED_DRIVERS, model_class
from .models.network import INTERFACE_MODELS
from .models.params import ParamedModel, ParamField
from .subnets import parse_pool
from .yaml_loader import Section, load_yaml

MAC_ADDRESS = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}")

LONGEST_MESSAGE = 1000  # characters, whatever stands in the template
LONGEST_NAME = 255  # characters; what the column takes
POOL_KEYS = ("net", "params")
GROUP_KEYS = ("name", "driver", "network_pools", "l2_network_devices", "group_volumes", "nodes")
DRIVER_KEYS = ("name", "params")
NODE_KEYS = ("name", "role", "params")
NODE_PARTS = ("interfaces", "network_config", "volumes")
INTERFACE_KEYS = ("label", "l2_network_device", "interface_model", "mac_address", "features")
VALUE_KINDS: tuple[tuple[object, str, tuple[type, ...]], ...] = (
    (True, "true or false", (bool, int)),
    (0, "a number", (int, float)),
    ([], "a list", (list,)),
    ({}, "a mapping", (dict, Section)),
)
"""What a parameter with such a default takes."""

NETWORK_CONFIG_KEYS = ("networks", "aggregation", "parents")


def load_template(path: str | Path, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The checked ``devops_settings`` of a template file; raises TemplateError with the line.

    The file holds them under ``template: devops_settings:`` or is nothing else but them.
    """
    document = load_yaml(Path(path), os.environ if environ is None else environ)
    if not isinstance(document, dict):
        raise TemplateError(f"{path} is no template: it has no `env_name`, `groups` ...")
    return check_settings(document)


def check_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` without its wrapping, once everything in it makes sense; raises TemplateError."""
    settings: Any = config
    for key in ("template", "devops_settings"):
        if key in settings:
            settings = _mapping(settings, key)
    if isinstance(settings.get("env_name"), int):  # a number, as !os_env reads ENV_NAME=42
        settings = {**settings, "env_name": str(settings["env_name"])}
    _Settings(settings).check()
    return dict(settings)


class _Settings:
    """What the parts of a template refer to one another by."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        if len(_text(settings, "env_name")) > LONGEST_NAME:
            raise _error(settings, "env_name", f"`env_name` is longer than {LONGEST_NAME}")
        self.pools = _sections(settings, "address_pools")
        self.groups = _items(settings, "groups")
        if not self.groups:
            raise _error(settings, None, "`groups` is missing")
        self.devices: dict[str, Mapping[str, Any]] = {}
        self.nodes: set[str] = set()

    def check(self) -> None:
        _unique(self.groups, "group")
        for name, pool in self.pools.items():
            _check_pool(name, pool)
        for group in self.groups:
            self._collect_devices(group)
        for group in self.groups:
            self._check_group(group)

    def _collect_devices(self, group: Mapping[str, Any]) -> None:
        """Networks are named ``<environment>_<device>``: one name, one device in all groups."""
        for name, device in _sections(group, "l2_network_devices").items():
            if name in self.devices:
                raise _error(
                    group["l2_network_devices"], name, f"l2_network_device {name!r} is there twice"
                )
            self.devices[name] = device

    def _check_group(self, group: Mapping[str, Any]) -> None:
        _only(group, GROUP_KEYS, "group")
        driver_name = _check_driver(group)
        device_model = model_class(driver_name, "L2NetworkDevice")
        for device in _sections(group, "l2_network_devices").values():
            self._check_device(device, device_model)
        for name, pool in _mapping(group, "network_pools").items():
            _known(group["network_pools"], name, pool, self.pools, "address pool")
        volumes = _items(group, "group_volumes")
        _unique(volumes, "group volume")
        volume_model = model_class(driver_name, "Volume")
        for volume in volumes:
            _check_params(volume, volume_model, besides=("name",))
        self._check_nodes(group, driver_name, {volume["name"] for volume in volumes})

    def _check_device(self, device: Mapping[str, Any], model: type[ParamedModel]) -> None:
        _check_params(device, model, besides=("address_pool",))
        if device.get("address_pool") is not None:
            _known(device, "address_pool", device["address_pool"], self.pools, "address pool")
        parent = _mapping(device, "parent_iface")
        if parent.get("l2_net_dev") is not None:
            _known(parent, "l2_net_dev", parent["l2_net_dev"], self.devices, "l2_network_device")

    def _check_nodes(
        self, group: Mapping[str, Any], driver_name: str, backing_stores: set[str]
    ) -> None:
        for node in _items(group, "nodes"):
            _only(node, NODE_KEYS, "node")
            name = _text(node, "name")
            if name in self.nodes:
                raise _error(node, "name", f"Node {name!r} is there twice")
            self.nodes.add(name)
            params = _mapping(node, "params")
            _check_params(params, model_class(driver_name, "Node"), besides=NODE_PARTS)
            self._check_interfaces(params)
            _check_volumes(params, driver_name, backing_stores)

    def _check_interfaces(self, params: Mapping[str, Any]) -> None:
        interfaces = _items(params, "interfaces")
        labels = _unique(interfaces, "interface", key="label")
        for interface in interfaces:
            _only(interface, INTERFACE_KEYS, "interface")
            device = interface.get("l2_network_device")
            if device is not None:
                _known(interface, "l2_network_device", device, self.devices, "l2_network_device")
            _list(interface, "features")
            mac = interface.get("mac_address")
            if mac is not None and not MAC_ADDRESS.fullmatch(str(mac)):
                raise _error(interface, "mac_address", f"{mac!r} is no MAC address")
            if "interface_model" in interface:
                model = interface["interface_model"]
                _known(interface, "interface_model", model, INTERFACE_MODELS, "interface model")
        for config in _sections(params, "network_config").values():
            _only(config, NETWORK_CONFIG_KEYS, "network_config")
            for parent in _list(config, "parents"):
                _known(config, "parents", parent, labels, "interface")


def _check_pool(name: str, pool: Mapping[str, Any]) -> None:
    _only(pool, POOL_KEYS, "address pool")
    if "net" not in pool:
        raise _error(pool, None, f"Address pool {name!r} lacks `net`")
    _attempt(pool, "net", lambda: parse_pool(pool["net"]))
    params = _mapping(pool, "params")
    _check_params(params, AddressPool)
    _mapping(params, "ip_reserved")
    ranges = _mapping(params, "ip_ranges")
    for range_name, bounds in ranges.items():
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise _error(ranges, range_name, f"Range {range_name!r} is not [first, last]")


def _check_driver(group: Mapping[str, Any]) -> str:
    """The driver's name as it is stored."""
    driver = _mapping(group, "driver")
    if not driver:
        raise _error(group, None, f"Group {group['name']!r} lacks `driver`")
    _only(driver, DRIVER_KEYS, "driver")
    name = _text(driver, "name")
    name = RENAMED_DRIVERS.get(name, name)
    model = _attempt(driver, "name", lambda: model_class(name, "Driver"))
    _check_params(_mapping(driver, "params"), model)
    return name


def _check_volumes(
    params: Mapping[str, Any], driver_name: str, backing_stores: Iterable[str]
) -> None:
    model, disk_model = model_class(driver_name, "Volume"), model_class(driver_name, "DiskDevice")
    volumes = _items(params, "volumes")
    _unique(volumes, "volume")
    for volume in volumes:
        _check_params(volume, model, besides=("name", "device", "bus", "backing_store"))
        for key in ("device", "bus"):
            if key in volume:
                _check_value(volume, key, disk_model)
        if volume.get("backing_store") is not None:
            _known(
                volume, "backing_store", volume["backing_store"], backing_stores, "backing_store"
            )


def _check_params(
    section: Mapping[str, Any], model: type[ParamedModel], besides: tuple[str, ...] = ()
) -> None:
    """Every key is a parameter of ``model`` (or one of ``besides``), with a value that it takes."""
    params = [name for name in model.get_defined_params() if not name.startswith("_")]
    kind = model._meta.concrete_model._meta.verbose_name  # type: ignore[union-attr]  # is concrete
    _only(section, (*besides, *params), str(kind))
    for key in section:
        if key in params and key not in besides:
            _check_value(section, key, model)


def _check_value(section: Mapping[str, Any], key: str, model: type[ParamedModel]) -> None:
    value = section[key]
    field = getattr(model, key)
    default = field.default if isinstance(field, ParamField) else {}
    for example, kind, accepted in VALUE_KINDS:
        if type(default) is type(example) and type(value) not in accepted:
            raise _error(section, key, f"{key} is {kind}, not {value!r}")
    _attempt(section, key, lambda: setattr(model(), key, value))


# The small grammar of sections


def _mapping(section: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under ``key``; empty where there is none."""
    value = section.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _error(section, key, f"`{key}` is a mapping, not {value!r}")
    return value


def _sections(section: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    """The mapping of mappings under ``key``."""
    outer = _mapping(section, key)
    return {name: _mapping(outer, name) for name in outer}


def _list(section: Mapping[str, Any], key: str) -> list[Any]:
    value = section.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise _error(section, key, f"`{key}` is a list, not {value!r}")
    return value


def _items(section: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The list of mappings under ``key``."""
    items = _list(section, key)
    for item in items:
        if not isinstance(item, dict):
            raise _error(section, key, f"`{key}` is a list of mappings, not of {item!r}")
    return items


def _text(section: Mapping[str, Any], key: str) -> str:
    value = section.get(key)
    if value is None:
        raise _error(section, None, f"`{key}` is missing")
    if not isinstance(value, str) or not value:
        raise _error(section, key, f"`{key}` is a text, not {value!r}")
    return value


def _unique(items: Iterable[Mapping[str, Any]], kind: str, key: str = "name") -> set[str]:
    names: set[str] = set()
    for item in items:
        name = _text(item, key)
        if name in names:
            raise _error(item, key, f"{kind.capitalize()} {name!r} is there twice")
        names.add(name)
    return names


def _only(section: Mapping[str, Any], known: Iterable[str], kind: str) -> None:
    known = list(known)
    for key in section:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1)
            raise _error(
                section,
                key,
                f"Unknown parameter {key!r} of {kind}",
                hint=f"Did you mean {nearest[0]}?" if nearest else f"Known: {', '.join(known)}",
            )


def _known(
    section: Mapping[str, Any], key: str, name: object, names: Iterable[str], kind: str
) -> None:
    names = sorted(names)
    if name not in names:
        known = ", ".join(names) or "none"
        raise _error(section, key, f"Unknown {kind} {name!r}", hint=f"Known: {known}")


def _attempt(section: Mapping[str, Any], key: str, action: Any) -> Any:
    """Do it; what goes wrong is said with the line of ``key``."""
    try:
        return action()
    except UnsupportedError as error:
        raise UnsupportedError(_located(section, key, error.message), hint=error.hint) from error
    except DevopsError as error:
        raise _error(section, key, error.message, hint=error.hint) from error


def _error(
    section: Mapping[str, Any], key: str | None, message: str, *, hint: str = ""
) -> TemplateError:
    return TemplateError(_located(section, key, message), hint=_short(hint))


def _located(section: Mapping[str, Any], key: str | None, message: str) -> str:
    """The message after ``file:line: ``, where the section comes from a file."""
    message = _short(message)
    if not isinstance(section, Section):
        return message
    line = section.lines.get(key, section.line) if key else section.line
    return f"{line}: {message}"


def _short(text: str) -> str:
    """One line, as far as anybody reads it."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]} ..."
