"""The main job, whole: an environment leaves alpha and comes back to life on beta.

One journey is made for each database; the tests look at different sides of it. Guests have a system
in them, and are asked, where the database is SQLite; in a long run everywhere.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bed import Bed, Guest

from .scenario import NODES, Place, images_differ, keep_images

NOTE = "/run/note"
COVERED = 2  # MiB; where the disks are written to: the base image has data there,
BLANK = 20  # MiB; and none here
LONG_RUN = bool(os.environ.get("DEVOPS_LONG_RUN"))
DATABASES = ("sqlite", "postgresql")
TO_POSTGRESQL, TO_SQLITE = (
    pytest.param(pair, marks=pytest.mark.xdist_group(f"trip to {pair[1]}"), id=" to ".join(pair))
    for pair in (DATABASES, DATABASES[::-1])
)
asks_guests = pytest.mark.parametrize(
    "trip", [TO_POSTGRESQL, *([TO_SQLITE] if LONG_RUN else [])], indirect=True, scope="module"
)


def disk_digests(guest: Guest) -> tuple[str, str]:
    """Of the two parts of its disk that are written to, and what is around them."""
    return (
        guest.disk_digest(mebibytes=3, offset=COVERED - 1),
        guest.disk_digest(mebibytes=3, offset=BLANK - 1),
    )


@dataclass(frozen=True)
class Seen:
    """An environment as it was found at some moment."""

    records: dict[str, Any]
    devices: dict[str, Any]
    networks: dict[str, Any]
    snapshots: list[str]
    disks: dict[str, tuple[str, str]]

    @classmethod
    def at(cls, place: Place, talking: Sequence[str]) -> Seen:
        return cls(
            records=place.records(),
            devices=place.devices(),
            networks=place.networks(),
            snapshots=place.snapshots(),
            disks={node: disk_digests(place.guest(node)) for node in talking},
        )


@dataclass(frozen=True)
class Trip:
    """The journey's stages.

    :param talking: the nodes with a system in them
    :param frozen: each guest's ticks right before and right after it was frozen
    :param early: digests of the disks at the snapshot ``early``
    """

    alpha: Place
    beta: Place
    talking: Sequence[str]
    storage: str
    first: dict[str, Any]
    again: dict[str, Any]
    manifest: dict[str, Any]
    before: Seen
    after: Seen
    early: dict[str, tuple[str, str]]
    frozen: dict[str, tuple[int, int]]
    ticks: dict[str, int]
    kept: Path
    left_nothing: bool


@pytest.fixture(scope="module", params=[TO_POSTGRESQL, TO_SQLITE])
def trip(bed: Bed, request: pytest.FixtureRequest) -> Iterator[Trip]:
    """One host has PostgreSQL, the other SQLite."""
    hosts = bed.host("alpha"), bed.host("beta")
    alpha, beta = (
        Place(host, bed.postgres(host).env if database == "postgresql" else {})
        for host, database in zip(hosts, request.param, strict=True)
    )
    for place in (alpha, beta):
        if place.env:
            place.dos("migrate")
    talking = NODES if request.param == DATABASES or LONG_RUN else ()
    yield travel(alpha, beta, bed.storage().url, talking=talking)
    bed.clean()


def travel(alpha: Place, beta: Place, storage: str, *, talking: Sequence[str]) -> Trip:
    alpha.create(boot=bool(talking), CDROM_BUS="ide")
    if not talking:
        alpha.dos("start", "trip")
    early = {}
    for node in talking:
        guest = alpha.guest(node)
        guest.fill_disk(mebibytes=1, offset=COVERED)
        guest.write_file(NOTE, f"{node} remembers")
        early[node] = disk_digests(guest)
    alpha.dos("snapshot", "trip", "early")
    for node in talking:
        alpha.guest(node).fill_disk(mebibytes=1, offset=BLANK)
    ticks_before = {node: alpha.guest(node).ticks() for node in talking}
    alpha.dos("snapshot", "trip", "late", "--description", "the moment")
    alpha.dos("suspend", "trip")
    alpha.dos("resume", "trip")
    frozen = {node: (ticks_before[node], alpha.guest(node).ticks()) for node in talking}
    first = alpha.export("--snapshot", "late", storage=storage)
    before = Seen.at(alpha, talking)
    kept = keep_images(alpha)
    again = alpha.export("--snapshot", "late", storage=storage)
    alpha.dos("erase", "trip")
    empty = alpha.is_empty()
    beta.dos("import-env", "latest:trip", "--storage", storage)
    ticks = {node: beta.guest(node).ticks() for node in talking}
    return Trip(
        alpha=alpha,
        beta=beta,
        talking=talking,
        storage=storage,
        first=first,
        again=again,
        manifest=beta.manifest(storage, first["id"]),
        before=before,
        after=Seen.at(beta, talking),
        early=early,
        frozen=frozen,
        ticks=ticks,
        kept=kept,
        left_nothing=empty,
    )


@asks_guests
def test_guests_count_on_from_the_tick_they_were_frozen_at(trip: Trip) -> None:
    for node in NODES:
        low, high = trip.frozen[node]
        # ten ticks a second at most: a guest that was restarted or had run on would be far off
        assert low <= trip.ticks[node] <= high + 150
        time.sleep(0.5)
        assert trip.beta.guest(node).ticks() > trip.ticks[node]


@asks_guests
def test_memory_holds_what_was_on_no_disk(trip: Trip) -> None:
    for node in NODES:
        assert trip.beta.guest(node).read_file(NOTE) == f"{node} remembers"


@asks_guests
def test_guests_see_the_same_disks(trip: Trip) -> None:
    assert set(trip.after.disks) == set(NODES)
    for node in NODES:
        assert len({*trip.early[node], *trip.after.disks[node]}) == 3  # the first part is as it was
    assert trip.after.disks == trip.before.disks


def test_every_layer_is_bit_for_bit_equal(trip: Trip) -> None:
    pool = trip.beta.host.pool_dir
    for file in trip.manifest["files"]:
        name = Path(file["path"]).name
        if file["format"] == "qcow2":
            assert images_differ(trip.kept / name, pool / name) == ""
        else:
            assert digest(trip.kept / name) == digest(pool / name), name
    roles = [file["role"] for file in trip.manifest["files"]]
    assert roles.count("memory") == 4
    assert roles.count("base") == 4  # the shared image, node-2's own disk, two cdroms
    assert roles.count("overlay") == 3  # on the image, and one on each disk since "early"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_machines_are_the_same(trip: Trip) -> None:
    assert trip.after.devices == trip.before.devices
    assert len(trip.after.devices) == 2


def test_networks_are_the_same_down_to_the_gateways_mac_address(trip: Trip) -> None:
    assert trip.after.networks == trip.before.networks
    assert set(trip.after.networks) == {"trip_admin", "trip_private"}


def test_snapshots_are_the_same(trip: Trip) -> None:
    assert trip.after.snapshots == trip.before.snapshots == ["early", "late"]


def test_records_are_the_same(trip: Trip) -> None:
    """Apart from the fresh overlays that the disks stand on: those begin their life here."""
    for table, rows in trip.before.records.items():
        if table not in ("node_volumes", "disks"):
            assert trip.after.records[table] == rows, table
    assert active_volumes(trip.after) == active_volumes(trip.before)
    assert frozen_volumes(trip.after) == frozen_volumes(trip.before)


def active_volumes(seen: Seen) -> list[Any]:
    return [[node, volume, params["target_dev"]] for node, volume, params in seen.records["disks"]]


def frozen_volumes(seen: Seen) -> list[Any]:
    active = {(node, volume) for node, volume, _ in active_volumes(seen)}
    rows = seen.records["node_volumes"]
    return [row for row in rows if (row[0], row[1]) not in active or row[1] == "iso"]


def test_nothing_is_left_where_it_came_from(trip: Trip) -> None:
    assert trip.left_nothing


def test_the_second_export_sends_no_data(trip: Trip) -> None:
    assert trip.first["bytes_sent"] > 15_000_000
    assert trip.again["bytes_sent"] < 100_000  # its manifest
    assert trip.again["bytes_deduplicated"] >= 0.99 * trip.again["bytes_read"]  # and zeros
    assert trip.again["bytes_read"] + trip.again["bytes_unread"] > 15_000_000


def test_the_journey_is_on_record(trip: Trip) -> None:
    """Rows of our own tables, read from the database itself on both sides."""
    code = (
        "import django, json; django.setup(); from devops_snapshot.models import {model} as M;"
        "print(json.dumps([[r.export_id, r.state, r.environment_name, r.storage_url]"
        " for r in M.objects.order_by('id')]))"
    )
    settings = {"DJANGO_SETTINGS_MODULE": "devops_snapshot.settings"}

    def rows(place: Place, model: str) -> str:
        env = {**place.env, **settings}
        return place.host.python("-c", code.format(model=model), env=env).stdout

    assert trip.first["id"] in rows(trip.alpha, "Export")
    assert '"done"' in rows(trip.alpha, "Export")
    assert trip.again["id"] in rows(trip.beta, "Import")


def test_goes_on_living(trip: Trip) -> None:
    """Last: on beta it reverts, is snapshotted and exported again, and goes without remainder."""
    beta = trip.beta
    beta.dos("revert-resume", "trip", "early")
    assert {node: disk_digests(beta.guest(node)) for node in trip.talking} == trip.early
    beta.dos("revert-resume", "trip", "late")
    now = {node: disk_digests(beta.guest(node)) for node in trip.talking}
    assert now == trip.before.disks
    third = beta.export("--snapshot", "late", storage=trip.storage)
    assert third["bytes_sent"] < 1_000_000  # the headers of the images name other paths here
    beta.dos("snapshot", "trip", "later")
    beta.dos("snapshot-delete", "trip", "early")
    assert beta.snapshots() == ["late", "later"]
    for node in trip.talking[:1]:
        assert disk_digests(beta.guest(node)) == trip.before.disks[node]
    beta.dos("erase", "trip")
    assert beta.is_empty()
