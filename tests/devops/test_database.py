"""Which database is used, and what is said of one that cannot be."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection

from devops_snapshot.devops.database import database_from_environment, prepare_database
from devops_snapshot.devops.models import Environment
from devops_snapshot.errors import DevopsError
from devops_snapshot.shell import main

from .databases import sqlite_environment, used_database

POSTGRESQL = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "fuel_devops",
    "USER": "fuel_devops",
    "PASSWORD": "fuel_devops",
    "HOST": "127.0.0.1",
    "PORT": "5432",
}


def test_nothing_set_is_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for environ in ({}, {"DEVOPS_DB_NAME": ""}, {"OTHER": "x"}):
        settings = database_from_environment(environ)
        assert settings["ENGINE"] == "django.db.backends.sqlite3"
        assert settings["NAME"] == str(tmp_path / ".devops/devops.sqlite3")


@pytest.mark.parametrize("key", ["NAME", "USER", "PASSWORD", "HOST", "PORT"])
def test_anything_set_is_postgresql_with_the_defaults_of_fuel_devops(key: str) -> None:
    assert database_from_environment({f"DEVOPS_DB_{key}": "x"}) == {**POSTGRESQL, key: "x"}


@pytest.mark.parametrize(
    "engine",
    [
        "django.db.backends.postgresql_psycopg2",
        "django.db.backends.postgresql",
        "postgresql_psycopg2",
        "postgresql",
    ],
)
def test_engine_names_old_and_new(engine: str) -> None:
    assert database_from_environment({"DEVOPS_DB_ENGINE": engine}) == POSTGRESQL


def test_sqlite_by_name() -> None:
    for engine in ("sqlite3", "django.db.backends.sqlite3"):
        settings = database_from_environment(
            {"DEVOPS_DB_ENGINE": engine, "DEVOPS_DB_NAME": "/srv/devops.db"}
        )
        assert (settings["ENGINE"], settings["NAME"]) == (
            "django.db.backends.sqlite3",
            "/srv/devops.db",
        )


def test_sqlite_is_made_where_it_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a/b/devops.sqlite3"
    with used_database({"DEVOPS_DB_ENGINE": "sqlite3", "DEVOPS_DB_NAME": str(path)}):
        prepare_database()
        prepare_database()
        assert list(Environment.list_all()) == []
    assert path.exists()


def test_a_file_that_is_no_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "devops.sqlite3"
    path.write_text("just text\n" * 100)
    with used_database({"DEVOPS_DB_ENGINE": "sqlite3", "DEVOPS_DB_NAME": str(path)}):
        with pytest.raises(DevopsError, match=r"Cannot open the SQLite database .*not a database"):
            prepare_database()
        assert main(["list"]) == 1
        assert capsys.readouterr().err.count("\n") == 1
        assert main(["migrate"]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_a_database_that_somebody_else_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "devops.sqlite3"
    with used_database(sqlite_environment(path)), closing(sqlite3.connect(path)) as other:
        connection.settings_dict["OPTIONS"]["timeout"] = 0.1
        other.execute("BEGIN IMMEDIATE")
        assert main(["migrate", "--fake", "devops", "zero"]) == 1
    assert capsys.readouterr().err == (
        f"Error: Cannot use the SQLite database {path}: database is locked\n"
    )
