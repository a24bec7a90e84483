"""Where exports of a host wait: beside its storage pool, so that a file can have a name in both."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings

from ..errors import UsageError
from ..workshop import workshop_of


def spool_directory(pool: Path) -> Path:
    """The spool for a storage pool; nothing is made.

    :param pool: the pool's directory
    :raises UsageError: the setting is no absolute path
    """
    if not settings.DEVOPS_SPOOL:
        return workshop_of(pool) / "spool"
    given = Path(os.path.expanduser(settings.DEVOPS_SPOOL))  # noqa: PTH111 # Path's raises
    if not given.is_absolute():  # the worker, and who exports, are in different directories
        raise UsageError(
            f"DEVOPS_SPOOL is {settings.DEVOPS_SPOOL!r}, which is no absolute path",
            hint="Name a directory on the file system of the storage pool, such as /srv/spool",
        )
    return given
