"""All that the driver can be told survives a round trip: field by field, and XML by XML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from tests.bed import Bed
from tests.devops.libvirt.semantic import said
from tests.devops.test_features import TEMPLATES
from tests.journey.scenario import Place

SECURE = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE
HOST_ONLY = ("uuid", "@chain")


@pytest.fixture
def places(clean_hosts: Bed) -> Iterator[tuple[Place, Place]]:
    """Two hosts with a bridge of their own each."""
    both = Place(clean_hosts.host("alpha")), Place(clean_hosts.host("beta"))
    for place in both:
        place.host.run(["ip", "link", "add", "br-lan", "type", "bridge"])
    yield both
    for place in both:
        place.host.run(["ip", "link", "del", "br-lan"])


def filters(place: Place) -> dict[str, Any]:
    found = place.host.connection.listAllNWFilters()
    return {one.name(): said(one.XMLDesc(), without=HOST_ONLY) for one in found}


def domains(place: Place) -> dict[str, Any]:
    """Definitions, with files by their names."""
    return {
        domain.name(): said(domain.XMLDesc(SECURE).replace(str(place.host.pool_dir), "POOL"))
        for domain in place.host.connection.listAllDomains()
    }


def networks(place: Place) -> dict[str, Any]:
    """But for the names of bridges, which are the host's own if libvirt has made them."""
    return {
        network.name(): said(
            network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE),
            without=("bridge/@name[starts-with(., 'virbr')]",),
        )
        for network in place.host.connection.listAllNetworks()
    }


def vlans(place: Place) -> list[tuple[str, str]]:
    """Tagged devices, by the text that says whose they are."""
    links = json.loads(place.host.run(["ip", "-json", "-details", "link", "show"]).stdout)
    return sorted(
        (link.get("ifalias", ""), link["ifname"].rpartition(".")[2])
        for link in links
        if link.get("linkinfo", {}).get("info_kind") == "vlan"
    )


def knows_vlans(place: Place) -> bool:
    """Whether the kernel of this machine does; without, an import warns of what is missing."""
    made = place.host.run(
        ["ip", "link", "add", "link", "br-lan", "name", "try.1", "type", "vlan", "id", "1"],
        check=False,
    )
    place.host.run(["ip", "link", "del", "try.1"], check=False)
    return made.returncode == 0


@pytest.mark.parametrize(
    ("template", "tagged"),
    [
        ("all_features.yaml", [("devops all_trunk", "200"), ("devops all_trunk", "201")]),
        ("default30_bond.yaml", []),
    ],
)
def test_a_round_trip(
    places: tuple[Place, Place], tmp_path: Path, template: str, tagged: list[tuple[str, str]]
) -> None:
    alpha, beta = places
    storage = f"file://{tmp_path}/repository"
    iso = tmp_path / "fuel.iso"
    iso.write_bytes(bytes(2048))
    alpha.dos("create-env", str(TEMPLATES / template), ENV_NAME="all", ISO_PATH=str(iso))
    for network in alpha.host.connection.listAllNetworks():
        network.create()
    alpha.export("--definitions-only", storage=storage, name="all")
    before = (alpha.records("all"), networks(alpha), filters(alpha), domains(alpha))
    beta.dos("import-env", "latest", "--storage", storage)
    after = (beta.records("all"), networks(beta), filters(beta), domains(beta))
    for here, there in zip(after, before, strict=True):
        assert here == there
    assert vlans(beta) == (tagged if knows_vlans(beta) else [])
    beta.dos("erase", "all")
    assert beta.is_empty()
    assert (filters(beta), vlans(beta)) == ({}, [])


def plan(place: Place, storage: str, *options: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """Exit code of a dry run, and what it found by subject."""
    done = place.host.dos(
        "import-env", "latest", "--storage", storage, "--dry-run", "--json", *options, check=False
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["subject"], []).append((finding["result"], finding["found"]))
    return done.returncode, found


def test_what_is_of_the_host_is_told_before(places: tuple[Place, Place], tmp_path: Path) -> None:
    alpha, beta = places
    storage = f"file://{tmp_path}/repository"
    alpha.dos("create-env", str(TEMPLATES / "all_features.yaml"), ENV_NAME="all")
    alpha.export("--definitions-only", storage=storage, name="all")
    code, found = plan(beta, storage)
    assert code == 0
    assert ("note", "network 'all_lan' is the bridge br-lan of this host") in found["host devices"]
    assert [result for result, _ in found["huge pages"]] == ["note"]
    code, found = plan(beta, storage, "--start")
    assert code == 4
    assert [result for result, _ in found["huge pages"]] == ["needs an option"]
    beta.host.run(["ip", "link", "del", "br-lan"])
    try:
        code, found = plan(beta, storage)
        assert code == 4
        missing = "network 'all_lan' is the bridge br-lan, which is not there"
        assert ("needs an option", missing) in found["host devices"]
        assert plan(beta, storage, "--isolated")[0] == 0
    finally:
        beta.host.run(["ip", "link", "add", "br-lan", "type", "bridge"])
    assert beta.is_empty()
