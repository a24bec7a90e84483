"""Manifests of the largest size that is read: time and memory are bounded, whatever they say."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devops_snapshot.errors import FormatError
from devops_snapshot.importer.choices import Choices
from devops_snapshot.importer.plan import place_files
from devops_snapshot.importer.reshape import notes, reshape, spelled_apart
from devops_snapshot.manifest import Manifest
from devops_snapshot.manifest.check import check_manifest, definition_of
from devops_snapshot.manifest.document import LARGEST
from devops_snapshot.manifest.writing import _from_below
from tests.manifest.real import document

from .confined import MIB, outcome
from .effort import LONG

MEMORY = 900 * MIB
SECONDS = 120 if LONG else 60
POOL = Path("/srv/pool")
SCALE = 1 if LONG else 32
"""The largest only in a long run."""

Large = Callable[[dict[str, Any]], None]


def nodes(d: dict[str, Any]) -> list[dict[str, Any]]:
    return d["environment"]["groups"][0]["nodes"]


def grown(d: dict[str, Any], number: int, change: Callable[[dict[str, Any], int], None]) -> None:
    """As many nodes, each with what is its own."""
    first = nodes(d)[0]
    for index in range(number):
        text = json.dumps(first)
        for old, new in ((first["name"], f"n{index:06}"), (first["params"]["uuid"], uuid(index))):
            text = text.replace(old, new)
        node = json.loads(text)
        for n, card in enumerate(node["interfaces"]):
            old, card["mac_address"] = card["mac_address"], mac(index, n)
            node = json.loads(json.dumps(node).replace(old, mac(index, n)))
        change(node, index)
        nodes(d).append(node)
    renumber(d)


def renumber(d: dict[str, Any]) -> None:
    counter = iter(range(1 << 30))
    for node in nodes(d):
        node["id"] = next(counter)
        for key in ("interfaces", "volumes", "disks", "network_configs"):
            for row in node[key]:
                row["id"] = next(counter)


def uuid(number: int) -> str:
    return f"36da2d5e-fc23-47b8-a8f6-{number:012x}"


def mac(node: int, card: int) -> str:
    return f"64:00:{node >> 8:02x}:{node & 255:02x}:00:{card:02x}"


def with_files(d: dict[str, Any]) -> None:
    """Each node's files are in the export, like those of the first."""
    known = {file["path"]: file for file in d["files"]}
    for index in range(len(nodes(d)) - 2):
        for path, file in list(known.items()):
            name = path.replace("node-1", f"n{index:06}")
            if "node-1" in path:
                d["files"].append({**file, "path": name})


def many_nodes(d: dict[str, Any]) -> None:
    grown(d, 1000 // SCALE, lambda node, index: None)
    with_files(d)


def many_snapshots(d: dict[str, Any]) -> None:
    """All that fit into a manifest, one after the other."""
    node = nodes(d)[0]
    [snapshot] = node["snapshots"]
    for number in range(5000 // SCALE):
        other = copy.deepcopy(snapshot)
        other["name"] = f"s{number}"
        other["xml"] = other["xml"].replace("<name>deployed<", f"<name>s{number}<", 1)
        node["snapshots"].append(other)


def same_names(d: dict[str, Any]) -> None:
    """Files of one name in as many directories, each standing on the one before."""
    [base] = [file for file in d["files"] if file["path"].endswith("trip_default_base")]
    chain = [{**base, "path": f"/{n}/x", "backing": f"/{n - 1}/x"} for n in range(32000 // SCALE)]
    chain[0]["backing"] = None
    base["backing"] = chain[-1]["path"]
    d["files"][:0] = chain


def many_cards(d: dict[str, Any]) -> None:
    card = nodes(d)[0]["interfaces"][0]
    for n in range(8000 // SCALE):
        nodes(d)[0]["interfaces"].append(
            {**card, "id": n + 1000, "mac_address": mac(n, 9), "addresses": []}
        )
    l2 = d["environment"]["groups"][0]["l2_network_devices"]
    for n in range(1000 // SCALE):
        l2.append({**l2[0], "id": n + 1000, "name": f"l{n}", "network": None})


def deep_xml(d: dict[str, Any]) -> None:
    """As many elements as a document may have, as often as a manifest may have them."""
    for node in nodes(d):
        xml = node["domain_xml"]
        room = MIB // SCALE - len(xml)
        node["domain_xml"] = xml.replace("</cpu>", "<a/>" * (room // 4) + "</cpu>")
        [snapshot] = node["snapshots"]
        room = MIB // SCALE - len(snapshot["xml"])
        snapshot["xml"] = snapshot["xml"].replace("</cpu>", "<a/>" * (room // 4) + "</cpu>", 1)


LARGE: tuple[Large, ...] = (many_nodes, many_snapshots, same_names, many_cards, deep_xml)


def imported(data: bytes) -> None:
    exported = Manifest.from_json(data)
    check_manifest(exported)
    for choices in (Choices(name="copy", disks_only=True), Choices(isolated=True, snapshot=None)):
        manifest = reshape(exported, choices)
        tuple(notes(exported, manifest, choices))
        if choices.isolated:
            spelled_apart(manifest, macs={mac(0, 9)})
        paths = place_files(manifest, POOL)
        assert len(set(paths.values())) == len(manifest.files)
        for node in manifest.environment.nodes:
            definition_of(node)
            tuple(_from_below(node.volumes))


@pytest.mark.parametrize("large", LARGE, ids=lambda large: large.__name__)
def test_the_largest(large: Large) -> None:
    changed = document()
    large(changed)
    data = json.dumps(changed).encode()
    assert MIB // SCALE < len(data) <= LARGEST
    told = outcome(lambda: imported(data), memory=MEMORY, seconds=SECONDS)
    assert told == "" or (large is deep_xml and "an XML document of" in told)  # it grows


def test_backing_volumes_in_the_worst_order() -> None:
    """Each stands on the next: as many steps as there are volumes, not their square."""
    manifest = Manifest.from_json(json.dumps(document()).encode())
    [volume, *_] = next(manifest.environment.nodes).volumes
    number = 30_000
    rows = [
        volume.model_copy(update={"id": n, "backing_store": n + 1 if n + 1 < number else None})
        for n in range(number)
    ]
    assert [row.id for row in _from_below(rows)] == list(reversed(range(number)))
    rows[-1] = rows[-1].model_copy(update={"backing_store": 0})
    with pytest.raises(FormatError, match="stand on each other"):
        list(_from_below(rows))
