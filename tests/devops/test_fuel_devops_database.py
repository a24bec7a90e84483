"""A database that fuel-devops 3.0.5 wrote, on a real PostgreSQL."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from django.apps import apps
from django.core.management import call_command

from devops_snapshot.devops.libvirt.models import LibvirtNode, LibvirtVolume
from devops_snapshot.devops.models import Environment, Node
from devops_snapshot.errors import NotFoundError, UnsupportedError
from devops_snapshot.shell import main
from tests.bed import Postgres

from .databases import TABLES

COLUMNS = (
    "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable"
    " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
)
CONSTRAINTS = (
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
)


def rows(postgres: Postgres) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table, as text."""
    return {
        table: postgres.query(f"SELECT row::text FROM {table} AS row ORDER BY id")
        for table in TABLES
    }


def test_opens(fuel_devops: Postgres) -> None:
    environment = Environment.get(name="lab-7")
    admin, slave = environment.get_nodes()
    assert isinstance(admin, LibvirtNode)
    assert (admin.memory, admin.boot, admin.is_admin) == (2048, ["hd", "cdrom"], True)
    assert slave.params["site_note"] == "Rätsel ✓"
    assert slave.get_ip_address_by_network_name("private") == "10.77.1.2"
    assert [disk.target_dev for disk in admin.disk_devices] == ["sda", "sdb"]
    top = admin.disk_devices[0].volume
    assert isinstance(top, LibvirtVolume)
    assert [top.name, top.backing_store.name, top.backing_store.backing_store.name] == [
        "golden.deployed",
        "system",
        "golden",
    ]
    assert environment.get_env_l2_network_device(name="admin").forward.mode == "nat"
    assert environment.get_group(name="default").driver.storage_pool_name == "images"
    assert environment.get_address_pool(name="admin-pool").ip_range_end("dhcp") == "10.77.0.200"


def test_a_driver_of_fuel_devops_alone_is_readable_and_not_more(fuel_devops: Postgres) -> None:
    node = Environment.get(name="rack").get_node(name="blade-1")
    assert type(node) is Node
    assert (node.ssh_port, node.params["ipmi_host"]) == (22, "192.0.2.44")
    for action in (node.start, node.define, node.remove, node.suspend, node.is_active):
        with pytest.raises(UnsupportedError, match=r"devops\.driver\.baremetal of node blade-1"):
            action()
    assert node.interfaces[0].mac_address == "64:01:02:03:04:05"


def test_migrate_only_adds_tables_of_this_project(fuel_devops: Postgres) -> None:
    columns, constraints = fuel_devops.query(COLUMNS), fuel_devops.query(CONSTRAINTS)
    content = rows(fuel_devops)
    call_command("migrate", verbosity=0)
    added = [row for row in fuel_devops.query(COLUMNS) if row not in columns]
    assert added
    assert {str(table).startswith("devops_snapshot_") for table, *_ in added} == {True}
    assert [row for row in columns if row not in fuel_devops.query(COLUMNS)] == []
    kept = fuel_devops.query(CONSTRAINTS)
    assert [row for row in constraints if row not in kept] == []
    # fuel-devops could no longer erase what such a constraint holds
    definitions = [str(row[2]) for row in kept if row not in constraints]
    assert [text for text in definitions if re.search("REFERENCES devops_(?!snapshot)", text)] == []
    assert rows(fuel_devops) == content


def test_our_own_migration_makes_the_same_tables(fuel_devops: Postgres) -> None:
    theirs = [row for row in fuel_devops.query(COLUMNS) if row[0] in TABLES]
    fuel_devops.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    call_command("migrate", verbosity=0)
    assert [row for row in fuel_devops.query(COLUMNS) if row[0] in TABLES] == theirs


def test_loading_and_saving_changes_no_byte(fuel_devops: Postgres) -> None:
    before = rows(fuel_devops)
    saved = 0
    for model in apps.get_app_config("devops").get_models():
        if not model._meta.proxy:
            for row in model._default_manager.all():
                row.save()
                saved += 1
    assert saved == sum(len(table) for table in before.values())
    assert rows(fuel_devops) == before


def test_times_are_read_back_as_fuel_devops_wrote_them(fuel_devops: Postgres) -> None:
    # naive UTC, which the server takes for a time in its own zone
    fuel_devops.query(
        "UPDATE devops_environment SET created = '2026-01-02 03:04:05.678901' WHERE name = 'lab-7'"
    )
    created = Environment.get(name="lab-7").created
    assert created == datetime(2026, 1, 2, 3, 4, 5, 678901)


def test_times_are_written_as_fuel_devops_writes_them(fuel_devops: Postgres) -> None:
    Environment.create("new")
    stored = fuel_devops.query("SELECT created::text FROM devops_environment WHERE name = 'new'")
    text = str(stored[0][0])
    assert text.endswith("+05:30")
    wall_clock = datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    assert abs(datetime.now(timezone.utc) - wall_clock) < timedelta(minutes=1)


def test_errors_name_the_database(fuel_devops: Postgres) -> None:
    place = f"the PostgreSQL database fuel_devops at {fuel_devops.directory}:{fuel_devops.port}"
    with pytest.raises(NotFoundError) as error:
        Environment.get(name="lab-8")
    assert str(error.value) == f"Unknown environment 'lab-8' in {place}"
    with pytest.raises(NotFoundError) as error:
        Environment.get(name="lab-7").get_node(name="slave-09")
    assert str(error.value) == f"Unknown node 'slave-09' in environment 'lab-7' of {place}"


def test_postgresql_is_only_migrated_on_request(
    fuel_devops: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = fuel_devops.query(COLUMNS)
    assert main(["list"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert "lacks tables" in output.err
    assert "dos.py migrate" in output.err
    assert fuel_devops.query(COLUMNS) == tables

    assert main(["migrate"]) == 0
    capsys.readouterr()
    assert main(["list"]) == 0
    assert capsys.readouterr().out.split() == ["NAME", "------", "lab-7", "rack"]
