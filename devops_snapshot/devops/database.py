"""Which database is used: SQLite under ``~/.devops``, or what the ``DEVOPS_DB_*`` variables say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

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
    # 30 s: several commands may write at the same time
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {"timeout": 30},
    }


def describe_database(alias: str = DEFAULT_DB_ALIAS) -> str:
    """A database as errors name it: ``the PostgreSQL database fuel_devops at 127.0.0.1:5432``."""
    connection = connections[alias]
    settings = connection.settings_dict
    text = f"the {connection.display_name} database {settings['NAME']}"
    if settings.get("HOST"):
        text += f" at {settings['HOST']}:{settings.get('PORT') or 5432}"
    return text
