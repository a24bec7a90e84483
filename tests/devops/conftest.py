"""Fixtures: databases for Django in this process, empty ones and one that fuel-devops left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed import Postgres

from .databases import DUMP, sqlite_environment, used_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """An SQLite database with all tables and no rows."""
    path = tmp_path / "devops.sqlite3"
    with used_database(sqlite_environment(path)):
        yield path


@pytest.fixture
def fuel_devops(postgres: Postgres) -> Iterator[Postgres]:
    """A PostgreSQL database as fuel-devops 3.0.5 leaves it, on a server that is not set to UTC."""
    postgres.query("ALTER DATABASE fuel_devops SET timezone = 'Asia/Kolkata'")
    postgres.load(DUMP)
    with used_database(postgres.outside_env):
        yield postgres
