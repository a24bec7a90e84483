"""``import-env --isolated``: two copies of one environment run beside each other on one host."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from lxml import etree

from devops_snapshot.reach.cables import SILENT
from tests.bed import Bed
from tests.journey.scenario import Place
from tests.reach.lab import FETCH, left_on, serve

ADDRESS = "10.109.0.128"  # of node-1 in every copy


@dataclass(frozen=True)
class Copies:
    place: Place
    storage: str
    names = ("trip", "copy")

    def in_the_manifest(self, export: str = "latest") -> list[dict[str, Any]]:
        """Networks, without the numbers of rows, which are each database's own."""
        environment = self.place.manifest(self.storage, export)["environment"]
        devices = [l2 for group in environment["groups"] for l2 in group["l2_network_devices"]]
        for l2 in devices:
            del l2["id"], l2["address_pool"]
        return devices


@pytest.fixture(scope="module")
def copies(bed: Bed, exported: str) -> Iterator[Copies]:
    place = Place(bed.host("beta"))
    place.dos("import-env", "latest", "--storage", exported, "--isolated")
    place.dos("import-env", "latest", "--storage", exported, "--isolated", "--name", "copy")
    yield Copies(place, exported)
    place.host.clean()


def test_networks_have_nothing_of_the_host(copies: Copies) -> None:
    networks = copies.place.host.connection.listAllNetworks()
    assert {network.name() for network in networks} == {
        f"{name}_{network}" for name in copies.names for network in ("admin", "private")
    }
    for network in networks:
        assert network.isActive()
        assert network.autostart()
        tags = [child.tag for child in etree.fromstring(network.XMLDesc())]
        assert sorted(tags) == ["bridge", "mac", "name", "uuid"]


def test_guests_of_both_run_on_and_are_reached_at_the_same_address(copies: Copies) -> None:
    """They have it in memory; nobody gives them another."""
    for name in copies.names:
        guest = copies.place.guest("node-1", name)
        assert guest.address() == ADDRESS
        serve(guest, "who", name)
    for name in copies.names:
        command = [sys.executable, "-c", FETCH, f"http://{ADDRESS}/who"]
        assert copies.place.dos("env-shell", name, *command).split() == [name]
    assert not left_on(copies.place.host)


def test_the_host_neither_hears_nor_answers_guests(copies: Copies) -> None:
    """Whoever imports is root here, so it is seen to at once, before any env-shell."""
    for network in copies.place.host.connection.listAllNetworks():
        for setting, value in SILENT.items():
            path = f"/proc/sys/net/ipv4/conf/{network.bridgeName()}/{setting}"
            assert copies.place.host.run(["cat", path]).stdout.strip() == value


def test_an_export_tells_what_they_were(copies: Copies) -> None:
    original = copies.in_the_manifest()
    rows = copies.place.records("trip")["l2"]
    assert "nat" not in json.dumps(rows)
    again = copies.place.export("--definitions-only", storage=copies.storage)
    assert copies.in_the_manifest(again["id"]) == original
    assert "nat" in json.dumps(original)


def test_goes_without_remainder(copies: Copies) -> None:
    """Last."""
    for name in copies.names:
        copies.place.dos("erase", name)
    assert copies.place.is_empty()
