"""Imports that have something in common: it travels once, and none can harm the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bed import Bed
from tests.journey.scenario import NAME, NODES, Place

DISK = 6  # MiB, the part of the disks that is written to


@dataclass(frozen=True)
class Siblings:
    """Two exports of one environment; in between, its guests have written to their disks.

    :param digests: of the disks, by export
    """

    storage: str
    first: str
    second: str
    digests: dict[str, dict[str, str]]


def disks(place: Place, name: str = NAME) -> dict[str, str]:
    return {node: place.guest(node, name).disk_digest(mebibytes=DISK) for node in NODES}


@pytest.fixture(scope="module")
def siblings(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siblings]:
    alpha = Place(bed.host("alpha"))
    storage = f"file://{tmp_path_factory.mktemp('siblings')}/repository"
    alpha.create()
    exports, digests = [], {}
    for offset in (2, 4):
        for node in NODES:
            alpha.guest(node).fill_disk(mebibytes=2, offset=offset)
        export = alpha.export(storage=storage)["id"]
        exports.append(export)
        digests[export] = disks(alpha)
    alpha.dos("erase", NAME)
    yield Siblings(storage, *exports, digests)
    bed.clean()


@pytest.fixture
def beta(bed: Bed) -> Iterator[Place]:
    place = Place(bed.host("beta"))
    yield place
    place.host.clean()


def bring(place: Place, siblings: Siblings, export: str, *arguments: str) -> int:
    """Import; returns the bytes received."""
    command = ["import-env", export, "--storage", siblings.storage, "--json", *arguments]
    return int(json.loads(place.dos(*command))["bytes_received"])


def used(place: Place) -> int:
    """Bytes that the files of the pool and of the cache take together."""
    root = place.host.pool_dir.parent
    files = [*place.host.pool_dir.iterdir(), *(root / ".devops_snapshot").rglob("*")]
    inodes = {file.stat().st_ino: file.stat().st_blocks * 512 for file in files}
    return sum(inodes.values())


def test_the_second_sibling_costs_its_difference(beta: Place, siblings: Siblings) -> None:
    whole = bring(beta, siblings, siblings.first)
    assert disks(beta) == siblings.digests[siblings.first]
    beta.dos("erase", NAME)
    assert beta.is_empty()
    difference = bring(beta, siblings, siblings.second)
    assert disks(beta) == siblings.digests[siblings.second]
    assert 4 << 20 < difference < whole / 3  # 2 MiB on each disk do not compress
    beta.dos("erase", NAME)
    assert bring(beta, siblings, siblings.second) < 1 << 20


def test_every_byte_is_written_once(beta: Place, siblings: Siblings) -> None:
    bring(beta, siblings, siblings.first, "--define-only")
    pool = sum(path.stat().st_blocks * 512 for path in beta.host.pool_dir.iterdir())
    assert used(beta) < pool * 1.1


def test_copies_do_not_harm_each_other(beta: Place, siblings: Siblings) -> None:
    """Layers of one are merged and written to, and the whole is erased; the other has its own."""
    bring(beta, siblings, siblings.second)
    snapshots = beta.snapshots()
    assert bring(beta, siblings, siblings.second, "--name", "twin", "--isolated") < 1 << 20
    for name in (NAME, "twin"):
        assert disks(beta, name) == siblings.digests[siblings.second]
    for node in NODES:
        beta.guest(node, "twin").fill_disk(mebibytes=4, offset=0)
    written = disks(beta, "twin")
    for snapshot in snapshots:
        beta.dos("snapshot-delete", "twin", snapshot)
    assert beta.snapshots("twin") == []
    assert disks(beta, "twin") == written
    beta.dos("destroy", "twin")
    beta.dos("sync", "twin", "--repair")
    beta.dos("revert-resume", NAME, snapshots[-1])
    assert disks(beta) == siblings.digests[siblings.second]
    beta.dos("erase", "twin")
    beta.dos("revert-resume", NAME, snapshots[-1])
    assert disks(beta) == siblings.digests[siblings.second]
    beta.dos("erase", NAME)
    bring(beta, siblings, siblings.second)  # what the cache has is right, or was fetched again
    assert disks(beta) == siblings.digests[siblings.second]


def test_layers_are_merged_while_guests_run(beta: Place, siblings: Siblings) -> None:
    """Though the files of an import have second names in the cache."""
    bring(beta, siblings, siblings.second)
    for snapshot in beta.snapshots():
        beta.dos("snapshot-delete", NAME, snapshot)
    assert "waits" not in beta.dos("sync", NAME)
    assert disks(beta) == siblings.digests[siblings.second]


def test_room_is_free_when_an_environment_is_erased(beta: Place, siblings: Siblings) -> None:
    command = ["import-env", siblings.first, "--storage", siblings.storage]
    beta.dos(*command, DEVOPS_LAYER_CACHE="1000000")
    beta.dos("erase", NAME, DEVOPS_LAYER_CACHE="1000000")
    layers = beta.host.pool_dir.parent / ".devops_snapshot/layers"
    assert sum(Path(path).stat().st_size for path in layers.iterdir()) < 1_000_000
