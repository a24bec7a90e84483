"""Which database Django uses in this process, for one test at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "devops_snapshot.settings"

import django
from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections

from devops_snapshot.devops.database import database_from_environment

django.setup()

DUMP = Path(__file__).with_name("fuel_devops_3_0_5.sql")
TABLES = (
    "devops_address",
    "devops_address_pool",
    "devops_diskdevice",
    "devops_driver",
    "devops_environment",
    "devops_group",
    "devops_interface",
    "devops_l2_network_device",
    "devops_network_config",
    "devops_network_pool",
    "devops_node",
    "devops_volume",
)


@contextmanager
def used_database(environ: Mapping[str, str]) -> Iterator[None]:
    """Inside, Django uses the database that these ``DEVOPS_DB_*`` variables name."""
    before = connections.databases[DEFAULT_DB_ALIAS]
    _use(database_from_environment(environ))
    try:
        yield
    finally:
        _use(before)


def _use(settings: dict[str, Any]) -> None:
    connections[DEFAULT_DB_ALIAS].close()
    del connections[DEFAULT_DB_ALIAS]
    complete = connections.configure_settings({DEFAULT_DB_ALIAS: dict(settings)})
    connections.databases[DEFAULT_DB_ALIAS] = complete[DEFAULT_DB_ALIAS]


def sqlite_environment(path: Path) -> dict[str, str]:
    """The variables of an SQLite database at ``path``, with all tables and no rows."""
    shutil.copy(_empty_sqlite(), path)
    return _sqlite(path)


def _sqlite(path: Path) -> dict[str, str]:
    return {"DEVOPS_DB_ENGINE": "sqlite3", "DEVOPS_DB_NAME": str(path)}


@cache
def _empty_sqlite() -> Path:
    """Migrating takes half a second: once is enough."""
    path = Path(_directory().name, "empty.sqlite3")
    with used_database(_sqlite(path)):
        call_command("migrate", verbosity=0)
    return path


@cache
def _directory() -> TemporaryDirectory[str]:
    return TemporaryDirectory()  # goes when the process ends
