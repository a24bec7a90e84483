"""fuel-devops's own internal snapshots, disk and memory inside the qcow2 files, travel as well."""

from __future__ import annotations

import pytest

from tests.bed import Bed

from .scenario import NODES, Place

SNAPSHOT = "error_deploy_ha"


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


def test_exports_and_reverts_after_import(hosts: tuple[Place, Place], bed: Bed) -> None:
    alpha, beta = hosts
    storage = bed.storage().url
    alpha.create()
    for node in NODES:
        alpha.guest(node).fill_disk(mebibytes=4, offset=8)
        alpha.guest(node).write_file("/run/note", node)
    disks = {node: alpha.guest(node).disk_digest(mebibytes=16) for node in NODES}
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
            assert guest.disk_digest(mebibytes=16) == disks[node]
            guest.fill_disk(mebibytes=1, offset=8)
        beta.dos("revert-resume", "trip", SNAPSHOT)
    assert beta.snapshots() == [SNAPSHOT]


def test_images_with_snapshots_inside_are_read_and_reverted_with_care(
    hosts: tuple[Place, Place], bed: Bed
) -> None:
    alpha, _ = hosts
    alpha.create()
    take_as_fuel_devops_does(alpha, SNAPSHOT)
    alpha.dos("resume", "trip")
    stands_still_while_its_image_is_read(alpha, bed.storage().url)
    is_not_reverted_beneath_external_ones(alpha)


def stands_still_while_its_image_is_read(alpha: Place, storage: str) -> None:
    """The image with the snapshot inside is the one that the guest writes to."""
    record = alpha.export("--snapshot", SNAPSHOT, storage=storage)
    assert record["freeze_seconds"] > 0
    assert all(domain.state()[0] == 1 for domain in alpha.host.connection.listAllDomains())


def is_not_reverted_beneath_external_ones(alpha: Place) -> None:
    """libvirt would do it without a word, and rewrite the layer that the external one stands on."""
    alpha.guest("node-1").write_file("/run/note", "later")
    alpha.dos("snapshot", "trip", "outside")
    code, line = alpha.refused("revert", "trip", SNAPSHOT)
    assert code == 4
    assert "external snapshots stand by now" in line
    assert alpha.guest("node-1").read_file("/run/note") == "later"
    alpha.refused("snapshot-delete", "trip", SNAPSHOT)
    alpha.dos("revert-resume", "trip", "outside")
    assert alpha.guest("node-1").read_file("/run/note") == "later"


def test_snapshots_are_internal_where_that_is_asked_for(
    hosts: tuple[Place, Place], bed: Bed
) -> None:
    alpha, _ = hosts
    alpha.create()
    alpha.guest("node-1").write_file("/run/note", "inside")
    alpha.dos("snapshot", "trip", "inside", SNAPSHOTS_EXTERNAL="false")
    assert not [path for path in alpha.host.pool_dir.iterdir() if "memory" in path.name]
    alpha.guest("node-1").write_file("/run/note", "afterwards")
    alpha.dos("revert-resume", "trip", "inside")
    assert alpha.guest("node-1").read_file("/run/note") == "inside"
    alpha.dos("snapshot-delete", "trip", "inside")
    assert alpha.snapshots() == []
