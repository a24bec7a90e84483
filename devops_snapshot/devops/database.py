"""Which database is used: SQLite under ``~/.devops``, or what the ``DEVOPS_DB_*`` variables say."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model

from devops_snapshot.errors import DevopsError

ENGINES = {
    "django.db.backends.postgresql_psycopg2": "django.db.backends.postgresql",
    "postgresql_psycopg2": "django.db.backends.postgresql",
    "postgresql": "django.db.backends.postgresql",
    "sqlite3": "django.db.backends.sqlite3",
}
"""Engine names that users of fuel-devops have set, and what Django calls them now."""

FUEL_DEVOPS_DEFAULTS = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "fuel_devops",
    "USER": "fuel_devops",
    "PASSWORD": "fuel_devops",
    "HOST": "127.0.0.1",
    "PORT": "5432",
}

SQLITE_TIMEOUT = 30  # seconds to wait for another command that writes


class DatabaseUnusableError(DevopsError):
    """The database cannot be reached, or is not ready to be used."""


def default_sqlite_path() -> Path:
    """Where the database lies if no ``DEVOPS_DB_*`` variable is set."""
    return Path("~/.devops/devops.sqlite3").expanduser()


def database_from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Django's settings of the devops database.

    Any ``DEVOPS_DB_*`` variable set: fuel-devops's PostgreSQL defaults for the others.
    """
    given = {
        key: environ[f"DEVOPS_DB_{key}"]
        for key in FUEL_DEVOPS_DEFAULTS
        if environ.get(f"DEVOPS_DB_{key}")
    }
    if not given:
        return _sqlite(default_sqlite_path())
    settings = FUEL_DEVOPS_DEFAULTS | given
    settings["ENGINE"] = ENGINES.get(settings["ENGINE"], settings["ENGINE"])
    if settings["ENGINE"].endswith("sqlite3"):
        return _sqlite(Path(given["NAME"]) if "NAME" in given else default_sqlite_path())
    return settings


def _sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {"timeout": SQLITE_TIMEOUT},
    }


def describe_database(alias: str = DEFAULT_DB_ALIAS) -> str:
    """A database as errors name it: ``the PostgreSQL database fuel_devops at 127.0.0.1:5432``."""
    connection = connections[alias]
    settings = connection.settings_dict
    text = f"the {connection.display_name} database {settings['NAME']}"
    if settings.get("HOST"):
        text += f" at {settings['HOST']}:{settings.get('PORT') or 5432}"
    return text


def prepare_database() -> None:
    """See to it that the database can be used.

    SQLite is created and migrated when it is not up to date. PostgreSQL may be fuel-devops's: there
    DatabaseUnusableError tells what to do.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor == "sqlite":
        create_directory()
        if not _is_migrated():
            _migrate_once()
    elif not _is_migrated():
        raise DatabaseUnusableError(
            f"{_capitalized(describe_database())} lacks tables of this version",
            hint="Run `dos.py migrate`",
        )


def create_directory() -> None:
    """Make the directory of the SQLite database, if it is one."""
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor != "sqlite":
        return
    directory = Path(connection.settings_dict["NAME"]).parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseUnusableError(
            f"Cannot make {directory} for the database: {error.strerror}"
        ) from error


def _is_migrated() -> bool:
    connection = connections[DEFAULT_DB_ALIAS]
    try:
        executor = MigrationExecutor(connection)
        return not executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        reason = str(error).partition("\n")[0]
        raise DatabaseUnusableError(
            f"Cannot open {describe_database()}: {reason}",
            hint="The DEVOPS_DB_* variables say which database is used",
        ) from error


def _migrate_once() -> None:
    with _only_one(Path(connections[DEFAULT_DB_ALIAS].settings_dict["NAME"])):
        call_command("migrate", verbosity=0, interactive=False)


@contextmanager
def _only_one(database: Path) -> Iterator[None]:
    """One process at a time: several commands may come first at the same moment."""
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _capitalized(text: str) -> str:
    return text[0].upper() + text[1:]


def reset_time_zone(connection: BaseDatabaseWrapper, **_: Any) -> None:
    """Give a new PostgreSQL session the server's time zone back, whatever Django has set."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("RESET TIME ZONE")


class AdminRouter:
    """Puts the tables of Django's own apps (users, sessions ...) into the database ``admin``.

    Used by :mod:`devops_snapshot.settings_admin` only.
    """

    DEVOPS_APPS = frozenset({"devops", "devops_snapshot"})

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return self._database_of(model._meta.app_label)

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        return self._database_of(model._meta.app_label)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == self._database_of(app_label)

    def _database_of(self, app_label: str) -> str:
        return DEFAULT_DB_ALIAS if app_label in self.DEVOPS_APPS else "admin"
