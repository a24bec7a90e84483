"""A manifest as release 0.1.0 wrote it: two nodes, two networks, one snapshot with memory."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from devops_snapshot.manifest import Manifest
from devops_snapshot.manifest.nwfilters import interface_filter_name, network_filter_name

PATH = Path(__file__).with_name("manifest.json")
TEST_RUN: dict[str, Any] = {
    "name": "deploy_ha",
    "outcome": "failed",
    "exception": "AssertionError: 2 != 3",
    "traceback": "Traceback:\n  one\n  two",
    "job": "9.1.system_test",
    "build": "1234",
    "url": "https://ci.example.org/job/9.1.system_test/1234/",
    "commits": {"fuel-qa": "5f2a9c01"},
    "release": "fuel-9.1-1234",
    "duration_seconds": 61.5,
}
"""With every field that there is."""


def document() -> dict[str, Any]:
    """Anew for each caller, to be changed."""
    return json.loads(PATH.read_text())


def latest() -> dict[str, Any]:
    """The same with what later releases write besides: a test, tags, network filters."""
    written = document()
    written["provenance"] |= {"test": copy.deepcopy(TEST_RUN), "tags": {"release": "9.1"}}
    [group] = written["environment"]["groups"]
    blocked = {"blocked": True}
    of_networks = {}
    for l2 in group["l2_network_devices"]:
        of_networks[l2["id"]] = name = network_filter_name("trip", l2["name"])
        l2["nwfilter"] = {"name": name, "includes": None, **blocked}
    for node in group["nodes"]:
        for card in node["interfaces"]:
            includes = of_networks[card["l2_network_device"]]
            name = interface_filter_name(includes, card["mac_address"])
            card["nwfilter"] = {"name": name, "includes": includes, **blocked}
    return written


def manifest_of(document: dict[str, Any]) -> Manifest:
    return Manifest.from_json(json.dumps(document).encode())
