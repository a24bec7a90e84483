"""fuel-devops's own internal snapshots, disk and memory inside the qcow2 files, travel as well."""

from __future__ import annotations

import pytest

from tests.bed import Bed

from .scenario import NODES, Place

SNAPSHOT = "error_deploy_ha"
DISK = 4  # MiB, the part of the disks that is written to


@pytest.fixture
def hosts(clean_hosts: Bed) -> tuple[Place, Place]:
    return Place(clean_hosts.host("alpha")), Place(clean_hosts.host("beta"))


def take_as_fuel_devops_does(place: Place, name: str) -> None:
    """Suspend all guests, take one internal snapshot after the other, leave them suspended."""
    domains = place.host.connection.listAllDomains()
    for domain in domains:
        domain.suspend()
    for domain in domains:
        domain.snapshotCreateXML(f"<domainsnapshot><name>{name}</name></domainsnapshot>", 0)


def test_they_are_taken_travel_and_are_handled_with_care(
    hosts: tuple[Place, Place], bed: Bed
) -> None:
    """One environment for all: to boot another takes longer than any of this."""
    alpha, beta = hosts
    storage = bed.storage().url
    alpha.create()
    are_taken_where_that_is_asked_for(alpha)
    come_along_and_can_be_reverted_to(alpha, beta, storage)
    stand_still_while_their_image_is_read(beta, storage)
    are_not_reverted_to_beneath_external_ones(beta)


def are_taken_where_that_is_asked_for(place: Place) -> None:
    place.guest("node-1").write_file("/run/note", "inside")
    place.dos("snapshot", "trip", "inside", SNAPSHOTS_EXTERNAL="false")
    assert not [path for path in place.host.pool_dir.iterdir() if "memory" in path.name]
    place.guest("node-1").write_file("/run/note", "afterwards")
    place.dos("revert-resume", "trip", "inside")
    assert place.guest("node-1").read_file("/run/note") == "inside"
    place.dos("snapshot-delete", "trip", "inside")
    assert place.snapshots() == []


def come_along_and_can_be_reverted_to(alpha: Place, beta: Place, storage: str) -> None:
    for node in NODES:
        alpha.guest(node).fill_disk(mebibytes=1, offset=2)
        alpha.guest(node).write_file("/run/note", node)
    disks = {node: alpha.guest(node).disk_digest(mebibytes=DISK) for node in NODES}
    ticks = {node: alpha.guest(node).ticks() for node in NODES}
    take_as_fuel_devops_does(alpha, SNAPSHOT)
    record = alpha.export("--snapshot", SNAPSHOT, storage=storage)
    assert record["snapshots"] == [SNAPSHOT]
    assert [domain.state()[0] for domain in alpha.host.connection.listAllDomains()] == [3, 3]
    alpha.dos("erase", "trip")
    beta.dos("import-env", record["id"], "--storage", storage)
    for _ in range(2):  # as imported, and reverted once more after the guests have run on
        for node in NODES:
            guest = beta.guest(node)
            assert ticks[node] <= guest.ticks() < ticks[node] + 200
            assert guest.read_file("/run/note") == node
            assert guest.disk_digest(mebibytes=DISK) == disks[node]
            guest.fill_disk(mebibytes=1, offset=2)
            assert guest.disk_digest(mebibytes=DISK) != disks[node]
        beta.dos("revert-resume", "trip", SNAPSHOT)
    assert beta.snapshots() == [SNAPSHOT]


def stand_still_while_their_image_is_read(place: Place, storage: str) -> None:
    """The image with the snapshot inside is the one that the guest writes to."""
    record = place.export("--snapshot", SNAPSHOT, storage=storage)
    assert record["freeze_seconds"] > 0
    assert all(domain.state()[0] == 1 for domain in place.host.connection.listAllDomains())


def are_not_reverted_to_beneath_external_ones(place: Place) -> None:
    """libvirt would do it without a word, and rewrite the layer that the external one stands on."""
    place.guest("node-1").write_file("/run/note", "later")
    place.dos("snapshot", "trip", "outside")
    code, line = place.refused("revert", "trip", SNAPSHOT)
    assert code == 4
    assert "external snapshots stand by now" in line
    assert place.guest("node-1").read_file("/run/note") == "later"
    place.refused("snapshot-delete", "trip", SNAPSHOT)
    place.dos("revert-resume", "trip", "outside")
    assert place.guest("node-1").read_file("/run/note") == "later"
