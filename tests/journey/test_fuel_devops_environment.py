"""An environment that fuel-devops made, rows and libvirt objects, with its external snapshot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bed import Bed, Host

from . import fuel_devops_lab as lab
from .scenario import Place

NOTE = "/run/note"


@pytest.fixture
def alpha(clean_hosts: Bed) -> Place:
    """With all that fuel-devops made there, rows and libvirt objects."""
    host = clean_hosts.host("alpha")
    return with_rows(clean_hosts, host, lab.make_objects(clean_hosts, host))


@pytest.fixture
def beta(clean_hosts: Bed) -> Place:
    """With the rows of another environment, ``rack``."""
    host = clean_hosts.host("beta")
    place = with_rows(clean_hosts, host, host.pool_dir)
    forget_lab(clean_hosts.postgres(host))
    return place


def with_rows(bed: Bed, host: Host, images: Path) -> Place:
    """A place with a database whose tables fuel-devops made."""
    server = bed.postgres(host)
    lab.load_rows(server, host, images)
    place = Place(host, server.env)
    place.dos("migrate")
    return place


def forget_lab(server: Any) -> None:
    """As fuel-devops's ``erase`` does; the environment ``rack`` stays."""
    server.query(
        "DELETE FROM devops_address WHERE id < 4; DELETE FROM devops_interface WHERE id < 4;"
        "DELETE FROM devops_network_config; DELETE FROM devops_diskdevice;"
        "DELETE FROM devops_volume; DELETE FROM devops_node WHERE id < 3;"
        "DELETE FROM devops_network_pool; DELETE FROM devops_l2_network_device WHERE id < 3;"
        "DELETE FROM devops_address_pool WHERE id < 3; DELETE FROM devops_group WHERE id = 1;"
        "DELETE FROM devops_driver WHERE id = 1; DELETE FROM devops_environment WHERE id = 1;"
    )


def test_travels_and_its_rows_are_as_fuel_devops_wrote_them(
    alpha: Place, beta: Place, bed: Bed
) -> None:
    storage = bed.storage().url
    guest = alpha.guest("admin", lab.ENVIRONMENT)
    guest.wait_boot()
    guest.write_file(NOTE, "deployed")
    disk = guest.fill_disk(mebibytes=1, offset=2)
    ticks = guest.ticks()
    lab.take_snapshot(alpha.host, alpha.host.directory / "images_of_lab")
    before = alpha.records(lab.ENVIRONMENT)
    devices = alpha.devices(lab.ENVIRONMENT)
    networks = alpha.networks()
    assert lab.SNAPSHOT in alpha.dos("snapshot-list", lab.ENVIRONMENT)
    record = alpha.export("--snapshot", lab.SNAPSHOT, storage=storage, name=lab.ENVIRONMENT)
    alpha.dos("erase", lab.ENVIRONMENT)
    assert not alpha.host.connection.listAllDomains()
    assert not list((alpha.host.home / ".devops/snap").iterdir())

    beta.dos("import-env", record["id"], "--storage", storage)
    guest = beta.guest("admin", lab.ENVIRONMENT)
    assert ticks <= guest.ticks() < ticks + 200
    assert guest.read_file(NOTE) == "deployed"
    assert guest.disk_digest(mebibytes=1, offset=2) == disk
    assert beta.devices(lab.ENVIRONMENT) == devices
    assert beta.networks() == networks
    check_rows(before, beta.records(lab.ENVIRONMENT))
    assert "rack" in beta.dos("list").split()
    beta.dos("revert-resume", lab.ENVIRONMENT, lab.SNAPSHOT)
    assert guest.read_file(NOTE) == "deployed"


def check_rows(before: dict[str, Any], after: dict[str, Any]) -> None:
    for table in before:
        if table not in ("node_volumes", "disks"):
            assert after[table] == before[table], table
    rows = {tuple(row[:2]): row for row in after["node_volumes"]}
    originals = {tuple(row[:2]): row for row in before["node_volumes"]}
    for key, row in originals.items():
        assert set(rows[key][3]) == set(row[3]), key  # the same parameters, also of overlays
        if lab.SNAPSHOT not in row[1]:
            assert rows[key] == row
    assert after["disks"] == before["disks"]  # overlays are named as fuel-devops names them
    assert json.dumps(after["disks"]).count("devops.driver.libvirt.libvirt_driver") == 3


def test_a_baremetal_node_is_refused_before_anything_is_done(beta: Place, bed: Bed) -> None:
    code, line = beta.refused("export-env", "rack", "--storage", bed.storage().url)
    assert code == 5
    assert "blade-1" in line
    assert "devops.driver.baremetal" in line
    _, line = beta.refused("list-exports", "--storage", bed.storage().url)
    assert "no repository" in line
