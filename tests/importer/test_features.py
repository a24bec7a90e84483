"""All that the driver can be told survives a round trip, field by field and XML by XML, with data.

Hosts have their storage pool at the same path, so that even the images are equal to the last byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from tests.bed import Bed
from tests.journey.manifests import apart_from_host, called, differences

from .features import POOL, Lab, Seen, filters, knows_vlans, vlans

OVERLAYS = ("all_server sda", "all_stick sda")
PATHS = ("all_server sdb", "all_server sdc")
"""One disk."""
READ_ONLY = "all_stick sdb"
VLANS = [("devops all_trunk", "200", "all_public"), ("devops all_trunk", "201", "")]


@dataclass(frozen=True)
class Origin:
    """``all_features.yaml`` was exported with two snapshots of running guests.

    Disks hold 1 and 2 at them, and 3 where it was exported.
    """

    export: str
    storage: str
    manifest: dict[str, Any]
    seen: Seen

    def unlike(self, manifest: dict[str, Any], directory: Path = POOL, *roles: str) -> list[str]:
        """How another manifest differs, apart from host, time and paths.

        :param directory: of the other one's storage pool
        :param roles: of files whose content is another
        """
        one = apart_from_host(self.manifest, POOL, but_layers_of=roles)
        return list(differences(one, apart_from_host(manifest, directory, but_layers_of=roles)))


@pytest.fixture(scope="module")
def alpha(bed: Bed) -> Iterator[Lab]:
    lab = Lab(bed.host("alpha"))
    with lab.ready():
        yield lab


@pytest.fixture
def beta(bed: Bed) -> Iterator[Lab]:
    lab = Lab(bed.host("beta"))
    with lab.ready():
        yield lab


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"file://{tmp_path_factory.mktemp('storage')}/repository"


@pytest.fixture(scope="module")
def origin(alpha: Lab, storage: str) -> Origin:
    alpha.make("all", "all_features.yaml")
    for disk in (*OVERLAYS, PATHS[0], READ_ONLY):
        alpha.write(disk, 1)
    alpha.dos("start", "all")
    alpha.dos("snapshot", "all", "early")
    for disk in (*OVERLAYS, PATHS[1]):
        alpha.write(disk, 2)
    alpha.dos("snapshot", "all", "late")
    for disk in (*OVERLAYS, PATHS[0]):
        alpha.write(disk, 3)
    export = alpha.export("--all-snapshots", storage=storage, name="all")["id"]
    return Origin(export, storage, alpha.manifest(storage, export), Seen.at(alpha, "all"))


def export(place: Lab, storage: str, name: str) -> dict[str, Any]:
    """The manifest of one more."""
    record = place.export("--all-snapshots", storage=storage, name=name)
    return place.manifest(storage, record["id"])


def test_a_round_trip(origin: Origin, beta: Lab) -> None:
    beta.dos("import-env", origin.export, "--storage", origin.storage)
    assert Seen.at(beta, "all") == origin.seen
    assert vlans(beta) == (VLANS if knows_vlans(beta) else [])
    assert len(origin.seen.filters) == 7
    for disk in (*OVERLAYS, *PATHS):
        assert beta.holds(disk, 2)
    assert beta.holds(READ_ONLY, 1)
    assert origin.unlike(export(beta, origin.storage, "all")) == []
    beta.dos("revert", "all", "early")
    for disk in (*OVERLAYS, *PATHS, READ_ONLY):
        assert beta.holds(disk, 1)
    beta.dos("erase", "all")
    assert beta.is_empty()
    assert vlans(beta) == []


def test_vlans(origin: Origin, alpha: Lab, beta: Lab) -> None:
    """They travel as any network does, and go with the environment."""
    if not knows_vlans(beta):
        pytest.skip("the kernel of this machine knows no VLANs (8021q)")
    assert vlans(alpha) == VLANS
    beta.dos("import-env", origin.export, "--storage", origin.storage, "--define-only")
    assert vlans(beta) == VLANS
    beta.dos("erase", "all")
    assert vlans(beta) == []


def test_copies_tell_the_same_of_themselves(origin: Origin, beta: Lab) -> None:
    """One of another name has the addresses; the one beside it must write its own differently."""
    arguments = ("import-env", origin.export, "--storage", origin.storage, "--isolated")
    beta.dos(*arguments, "--name", "dolly", "--define-only")
    dolly = called(export(beta, origin.storage, "dolly"), "all")
    original = Origin(**{**vars(origin), "manifest": called(origin.manifest, "all")})
    assert original.unlike(dolly, POOL, "overlay", "memory") == []
    beta.dos(*arguments)
    assert "64:0A:00:00:00:01" in str(beta.records("all")["interfaces"])
    assert "10.79.0.0/024" in str(beta.records("all")["pools"])
    copy = export(beta, origin.storage, "all")
    # libvirt's header of memory tells the filters of the cards, which are called after their rows
    assert origin.unlike(copy, POOL, "memory") == []
    assert len(origin.unlike(copy)) == 2
    assert all(".layer: " in difference for difference in origin.unlike(copy))
    for name in ("dolly", "all"):
        beta.dos("erase", name)
    assert beta.is_empty()
    arguments = ("import-env", "latest:all", "--storage", origin.storage, "--define-only")
    elsewhere = ("--connection", beta.host.uri, "--pool", "default")
    beta.dos(*arguments, *elsewhere, CONNECTION_STRING="qemu+tcp://nowhere.invalid/system")
    assert filters(beta) == origin.seen.filters
    moved = export(beta, origin.storage, "all")
    assert origin.unlike(moved, beta.host.pool_dir, "overlay", "memory") == []


def test_a_bond_of_ten_machines(alpha: Lab, beta: Lab, storage: str, tmp_path: Path) -> None:
    disks = ("bond_admin sda", "bond_slave-05 sdb", "bond_slave-09 sdc")
    iso = tmp_path / "fuel.iso"
    iso.write_bytes(bytes(2048))
    alpha.make("bond", "default30_bond.yaml", ISO_PATH=str(iso))
    for disk in disks:
        alpha.write(disk, 1)
    alpha.dos("snapshot", "bond", "deployed")
    before = export(alpha, storage, "bond")
    seen = Seen.at(alpha, "bond")
    beta.dos("import-env", "latest:bond", "--storage", storage)
    assert Seen.at(beta, "bond") == seen
    for disk in disks:
        assert beta.holds(disk, 1)
    again = apart_from_host(export(beta, storage, "bond"), POOL)
    assert list(differences(apart_from_host(before, POOL), again)) == []
