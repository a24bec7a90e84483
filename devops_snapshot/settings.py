"""Django settings of ``dos.py``; the environment variables are fuel-devops's own."""

from __future__ import annotations

import os
from pathlib import Path

from devops_snapshot.devops.database import database_from_environment

_BOOLEANS = {
    "1": True,
    "yes": True,
    "true": True,
    "on": True,
    "0": False,
    "no": False,
    "false": False,
    "off": False,
}


def _boolean(name: str) -> bool | None:
    """The variable as yes or no; ``None`` where it says neither."""
    return _BOOLEANS.get(os.environ.get(name, "").lower())


DEVOPS_HOME = Path("~/.devops").expanduser()

SECRET_KEY = "no sessions and no signed data here"
INSTALLED_APPS = ["devops_snapshot.devops.apps.DevopsConfig", "devops_snapshot"]
DATABASES = {"default": database_from_environment(os.environ)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# fuel-devops writes naive UTC into "timestamp with time zone" and lets PostgreSQL read it in the
# session's zone, whatever that is. With both settings so, Django sets no zone of its own and the
# same values come back.
USE_TZ = False
TIME_ZONE: str | None = None

SSH_CREDENTIALS = {
    "admin_network": os.environ.get("ENV_ADMIN_NETWORK", "admin"),
    "login": os.environ.get("ENV_FUEL_LOGIN", "root"),
    "password": os.environ.get("ENV_FUEL_PASSWORD", "r00tme"),
}
SSH_SLAVE_CREDENTIALS = {
    "admin_network": os.environ.get("ENV_ADMIN_NETWORK", "admin"),
    "login": os.environ.get("ENV_SLAVE_LOGIN", "root"),
    "password": os.environ.get("ENV_SLAVE_PASSWORD", "r00tme"),
}

SNAPSHOTS_EXTERNAL = _boolean("SNAPSHOTS_EXTERNAL") is not False
"""External snapshots unless the variable explicitly says no."""

SNAPSHOTS_EXTERNAL_DIR = Path(
    os.environ.get("SNAPSHOTS_EXTERNAL_DIR", DEVOPS_HOME / "snap")
).expanduser()

DEVOPS_STORAGE = os.environ.get("DEVOPS_STORAGE")
"""URL of the storage node; ``None``: a directory under ``~/.devops``."""

DEVOPS_LAYER_CACHE = os.environ.get("DEVOPS_LAYER_CACHE")
"""Bytes that layers of imports may take which no environment has any more; ``None``: 20 GiB."""

DEVOPS_SPOOL = os.environ.get("DEVOPS_SPOOL")
"""Directory of exports that wait to be sent; ``None``: beside the storage pool."""

DEVOPS_SPOOL_LIMIT = os.environ.get("DEVOPS_SPOOL_LIMIT")
"""Bytes that it may take; ``None``: half of its file system."""

DEVOPS_WORKER_SOCKET = (
    os.environ.get("DEVOPS_WORKER_SOCKET") or "/run/devops_snapshot/export-worker.sock"
)
"""Where users without root ask the worker of detached exports."""

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "devops_snapshot.output.LineFormatter"}},
    "handlers": {
        "stderr": {"class": "devops_snapshot.output.DiagnosticsHandler", "formatter": "line"}
    },
    # what paramiko says is raised as well, and there it has the name of the host
    "loggers": {"paramiko": {"level": "CRITICAL"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
