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
