"""Whether two manifests tell of the same environment: everything in them, but host, time and paths.

Those of the host: its description; who exported; connection and storage pool of drivers; numbers of
rows; names of bridges that its libvirt has chosen; in definitions the cgroup and security labels
that libvirt notes of domains that run. Time is the one of the export. Paths are the directory of
the storage pool.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lxml import etree

HOST, POOL = "the host's", "POOL"
OF_THE_HOST = ("resource", "seclabel")
REFERENCES = {
    "address_pool": "address_pools",
    "l2_network_device": "l2_network_devices",
    "backing_store": "volumes",
    "volume": "volumes",
}
"""Fields with the number of a row, and the kind of rows that it is one of."""
ROWS = (
    *("address_pools", "groups", "driver", "l2_network_devices", "network_pools", "volumes"),
    *("nodes", "interfaces", "network_configs", "disks"),
)
"""Fields with rows."""


def apart_from_host(
    manifest: dict[str, Any], directory: Path, *, but_layers_of: Collection[str] = ()
) -> dict[str, Any]:
    """What the manifest says apart from all that.

    :param directory: of the storage pool
    :param but_layers_of: roles of files whose content is another: overlays tell paths, memory names
    """
    text = json.dumps(manifest).replace(f"{directory}/", f"{POOL}/")
    document: dict[str, Any] = json.loads(text)
    del document["host"]
    for field in ("created", "user"):
        del document["provenance"][field]
    for file in document["files"]:
        if file["role"] in but_layers_of:
            del file["layer"]
    _number(document["environment"], {}, "environment")
    for group in document["environment"]["groups"]:
        for field in ("connection_string", "storage_pool_name"):
            del group["driver"]["params"][field]
        for l2 in group["l2_network_devices"]:
            if l2["network"] is not None:
                _forget_bridge(l2["network"])
        for node in group["nodes"]:
            node["domain_xml"] = _plain(node["domain_xml"])
            for snapshot in node["snapshots"]:
                snapshot["xml"] = _plain(snapshot["xml"])
    return document


def called(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """The manifest as if the environment had that name, and each UUID were one of its owner's."""
    text, old = json.dumps(manifest), manifest["environment"]["name"]
    for group in manifest["environment"]["groups"]:
        owners = [(node["name"], node["params"]["uuid"]) for node in group["nodes"]]
        owners += [(l2["name"], l2["params"]["uuid"]) for l2 in group["l2_network_devices"]]
        for owner, uuid in owners:
            text = text.replace(uuid, f"that of {owner}")
    document: dict[str, Any] = json.loads(text.replace(f"{old}_", f"{name}_"))
    document["environment"]["name"] = name
    return document


def differences(one: Any, other: Any, place: str = "manifest") -> Iterator[str]:
    """Field by field; nothing if they are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        for field in sorted(one.keys() | other.keys()):
            values = (side.get(field, "nothing at all") for side in (one, other))
            yield from differences(*values, f"{place}.{field}")
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, values in enumerate(zip(one, other, strict=True)):
            yield from differences(*values, f"{place}[{index}]")
    elif one != other or type(one) is not type(other):
        yield f"{place}: {one!r} / {other!r}"


def _number(value: Any, numbers: dict[tuple[str, int], int], kind: str) -> None:
    """Number the rows of all kinds anew, in the order in which the manifest speaks of them."""

    def number(kind: str, old: int) -> int:
        return numbers.setdefault((kind, old), len(numbers) + 1)

    if isinstance(value, list):
        for item in value:
            _number(item, numbers, kind)
    elif isinstance(value, dict):
        value["id"] = number(kind, value["id"])
        for field, inside in value.items():
            if field in REFERENCES and inside is not None:
                value[field] = number(REFERENCES[field], inside)
            elif field in ROWS:
                _number(inside, numbers, field)


def _forget_bridge(network: dict[str, Any]) -> None:
    """Its name, unless the bridge is one that the host has without libvirt."""
    root = parse(network["xml"])
    if network["forward_mode"] != "bridge":
        network["bridge"] = HOST
        for bridge in root.findall("bridge"):
            bridge.set("name", HOST)
    network["xml"] = written(root)


def _plain(xml: str) -> str:
    """A definition, or a snapshot with those that are inside it, without what is the host's."""
    root = parse(xml)
    for tag in OF_THE_HOST:
        for definition in (root, *root.findall("domain"), *root.findall("inactiveDomain")):
            for element in definition.findall(tag):
                definition.remove(element)
    return written(root)


def parse(xml: str) -> etree._Element:
    return etree.fromstring(xml, etree.XMLParser(remove_blank_text=True))


def written(root: etree._Element) -> str:
    """Always the same way, a line for an element."""
    return etree.tostring(root, encoding="unicode", pretty_print=True)
