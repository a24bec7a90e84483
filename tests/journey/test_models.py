"""This project's own rows beside those of fuel-devops: they follow, and are never in the way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import call_command

from devops_snapshot.journey import recorded
from devops_snapshot.models import (
    EnvironmentSnapshot,
    Export,
    Import,
    Journey,
    NodeSnapshot,
    State,
    StorageNode,
)
from tests.bed import Postgres
from tests.devops.databases import DUMP, sqlite_environment, used_database
from tests.devops.test_admin import browse, django

ERASE = """
    DELETE FROM devops_address WHERE id < 4; DELETE FROM devops_interface WHERE id < 4;
    DELETE FROM devops_network_config; DELETE FROM devops_diskdevice; DELETE FROM devops_volume;
    DELETE FROM devops_node WHERE id < 3; DELETE FROM devops_network_pool;
    DELETE FROM devops_l2_network_device WHERE id < 3; DELETE FROM devops_address_pool WHERE id < 3;
    DELETE FROM devops_group WHERE id = 1; DELETE FROM devops_driver WHERE id = 1;
    DELETE FROM devops_environment WHERE id = 1;
"""


@pytest.fixture
def lab(postgres: Postgres) -> Iterator[Postgres]:
    """A database of fuel-devops with our tables."""
    postgres.load(DUMP)
    with used_database(postgres.outside_env):
        call_command("migrate", verbosity=0)
        yield postgres


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "devops.sqlite3"
    with used_database(sqlite_environment(path)):
        yield path


def write_rows(environment_id: int, node_id: int) -> list[Journey]:
    """One of each, as commands write them."""
    storage = StorageNode.used("sftp://storage/srv", "r1")
    common = {"environment_id": environment_id, "environment_name": "lab", "storage_node": storage}
    rows = [
        Export.objects.create(export_id="E-1", snapshots=["a"], storage_url=storage.url, **common),
        Import.objects.create(export_id="E-1", storage_url=storage.url, **common),
    ]
    snapshot = EnvironmentSnapshot.objects.create(environment_id=environment_id, name="deployed")
    NodeSnapshot.objects.create(
        snapshot=snapshot, node_id=node_id, node_name="node-1", state="running"
    )
    for row in rows:
        row.finish(State.DONE)
    return rows


def test_fuel_devops_erases_as_if_they_were_not_there(lab: Postgres) -> None:
    """It deletes with statements of its own, knows its own tables only, runs no code of ours."""
    write_rows(1, 1)
    lab.query(ERASE)
    assert lab.query("SELECT id FROM devops_environment WHERE id = 1") == []
    [export] = Export.objects.all()
    assert (export.environment_name, export.state) == ("lab", "done")
    assert EnvironmentSnapshot.objects.filter(environment_id=1).exists()


def test_snapshots_go_with_their_environment_and_journeys_stay(lab: Postgres) -> None:
    write_rows(1, 1)
    apps.get_model("devops", "Environment").objects.get(id=1).delete()
    assert not EnvironmentSnapshot.objects.exists()
    assert not NodeSnapshot.objects.exists()
    assert Export.objects.count() == Import.objects.count() == 1


def test_a_nodes_part_goes_with_the_node_of_whatever_class(lab: Postgres) -> None:
    """The row is loaded as the driver's own class, a proxy."""
    node = apps.get_model("devops", "Node").objects.get(id=1)
    assert type(node)._meta.proxy
    write_rows(1, 1)
    node.delete()
    assert EnvironmentSnapshot.objects.exists()
    assert not NodeSnapshot.objects.exists()


def test_rows_of_other_tables_take_nothing_along(lab: Postgres) -> None:
    """Signals are sent for every row; an id alone says nothing."""
    write_rows(1, 1)
    apps.get_model("devops", "Address").objects.get(id=1).delete()
    assert NodeSnapshot.objects.exists()


def test_admin_shows_them_also_when_their_environment_is_gone(tmp_path: Path) -> None:
    (tmp_path / ".devops").mkdir()
    for name in ("default", "admin"):
        django(tmp_path, "-m", "django", "migrate", "--database", name, "-v", "0")
    code = "import django; django.setup()\nfrom tests.journey.test_models import write_rows\n"
    django(tmp_path, "-c", f"{code}write_rows(4711, 4712)")
    tables = ("storagenode", "export", "import", "environmentsnapshot")
    pages = [f"/devops_snapshot/{table}/{row}" for table in tables for row in ("", "1/change/")]
    shown = django(tmp_path, "-c", browse(*pages, names=("E-1", "deployed", "node-1", "sftp:")))
    assert [line for line in shown.splitlines() if line.startswith("200 ")] == [
        f"200 {page}" for page in pages
    ]
    assert {"E-1", "deployed", "node-1", "sftp:"} <= set(shown.splitlines())


def test_a_storage_node_is_one_row_however_often_it_is_used(empty: Path) -> None:
    first = StorageNode.used("file:///srv", "r1")
    again = StorageNode.used("file:///srv", "r2")
    assert first.id == again.id
    assert again.last_used >= first.last_used
    assert StorageNode.objects.get().repository_id == "r2"


BEGIN = """
import signal, sys
from devops_snapshot.journey import recorded
from devops_snapshot.models import Export
with recorded(Export.objects.create(environment_name=sys.argv[1], storage_url="file:///srv")):
    print("begun", flush=True)
    signal.pause()
"""


def begin(database: Path, name: str) -> subprocess.Popen[str]:
    """A process that is exporting for ever."""
    command = [sys.executable, "-c", f"import tests.devops.databases\n{BEGIN}", name]
    variables = {**os.environ, "DEVOPS_DB_ENGINE": "sqlite3", "DEVOPS_DB_NAME": str(database)}
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def test_the_record_of_a_killed_process_is_closed(empty: Path) -> None:
    """By whoever comes next; of those that live, and of other hosts, it is left alone."""
    killed, living, away = (begin(empty, name) for name in ("killed", "living", "away"))
    for process in (killed, away):
        process.kill()
        process.wait()
    elsewhere = Export.objects.get(environment_name="away")
    elsewhere.process = f"x{elsewhere.process[1:]}"
    elsewhere.save()
    with recorded(Import.objects.create(environment_name="next", storage_url="file:///srv")):
        found = {row.environment_name: (row.state, row.error) for row in Export.objects.all()}
    living.terminate()
    living.wait()
    assert found == {
        "killed": (State.FAILED, "killed"),
        "living": (State.RUNNING, ""),
        "away": (State.RUNNING, ""),
    }
