"""What a plan says of devices that an environment wants of its host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from tests.bed import Bed
from tests.devops.test_features import TEMPLATES
from tests.journey.scenario import Place


@pytest.fixture
def places(clean_hosts: Bed) -> Iterator[tuple[Place, Place]]:
    """Two hosts with a bridge of their own each."""
    both = Place(clean_hosts.host("alpha")), Place(clean_hosts.host("beta"))
    for place in both:
        place.host.run(["ip", "link", "add", "br-lan", "type", "bridge"])
    yield both
    for place in both:
        place.host.run(["ip", "link", "del", "br-lan"])
    both[1].host.run(["ip", "link", "del", "nic"], check=False)


def plan(place: Place, storage: str, *options: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """Exit code of a dry run, and what it found by subject."""
    done = place.host.dos(
        "import-env", "latest", "--storage", storage, "--dry-run", "--json", *options, check=False
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        assert finding["result"] in ("ok", "note") or finding["remedy"]
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
    gone = "network 'admin' is not joined to nic, which is not there"
    assert ("note", gone) in found["host devices"]
    beta.host.run(["ip", "link", "add", "nic", "type", "bridge"])
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
    beta.host.run(["ip", "link", "del", "nic"])
    beta.dos("import-env", "latest", "--storage", storage, "--define-only")
    for place in places:
        definition = place.host.connection.lookupByName("all_server").XMLDesc()
        assert "<hugepages/>" in definition
    beta.dos("erase", "all")
    assert beta.is_empty()
    beta.host.run(["ip", "link", "add", "nic", "type", "bridge"])
    check_what_is_taken(alpha, storage)
    check_what_is_taken_elsewhere(beta, storage, alpha)


def check_what_is_taken(place: Place, storage: str) -> None:
    """By the environment itself, which is there still."""
    code, found = plan(place, storage)
    assert code == 4
    assert found["environment"] == [
        ("needs an option", "an environment 'all' is in the database already")
    ]
    some = {
        "domains": "a domain 'all_server' is there already",
        "networks": "a network 'all_admin' is there already",
        "network filters": "a network filter 'all_admin' is there already",
        "subnets": "address pool 10.79.0.0/24 belongs to environment 'all'",
    }
    for subject, what in some.items():
        assert ("needs an option", what) in found[subject]
    [result, card], *_ = found["MAC addresses"]
    assert result == "needs an option"
    assert card.endswith(" is in the database already, of node 'server'")
    assert found["networks"][-1][1].startswith("and ")
    assert found["networks"][-1][1].endswith(" more like that")
    assert plan(place, storage, "--name", "other", "--isolated")[0] == 0
    done = place.host.dos("import-env", "latest", "--storage", storage, "--dry-run", check=False)
    title, _, *rows = done.stdout.splitlines()
    assert title.split() == ["CHECKED", "RESULT", "FOUND"]
    assert [row.split("  ")[0] for row in rows] == [
        subject for subject, findings in found.items() for _ in findings
    ]


def check_what_is_taken_elsewhere(place: Place, storage: str, origin: Place) -> None:
    """A UUID by another domain, a subnet by another network, and by a route in part."""
    uuid = origin.host.connection.lookupByName("all_server").UUIDString()
    connection = place.host.connection
    domain = connection.defineXML(
        f"<domain type='qemu'><name>else</name><uuid>{uuid}</uuid><memory>4096</memory>"
        "<os><type>hvm</type></os></domain>"
    )
    network = connection.networkDefineXML(
        "<network><name>wide</name><bridge name='br-wide'/>"
        "<ip address='10.79.0.1' netmask='255.255.0.0'/></network>"
    )
    for command in ("addr add 10.78.0.1/15 dev nic", "link set nic up"):
        place.host.run(["ip", *command.split()])
    try:
        code, found = plan(place, storage)
    finally:
        domain.undefine()
        network.undefine()
    assert code == 4
    told = f"UUID {uuid} of node 'server' belongs to 'else'"
    assert found["domains"] == [("needs an option", told)]
    told = "network 'all_admin' (10.79.0.1/24) overlaps with 'wide' (10.79.0.1/16)"
    assert ("needs an option", told) in found["subnets"]
    told = "'all_admin' (10.79.0.0/24) overlaps with the route to 10.78.0.0/15 by nic"
    assert ("note", told) in found["host routes"]
    assert ("note", "network 'admin' is joined to nic of this host") in found["host devices"]
