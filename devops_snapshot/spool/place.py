"""Where exports of a host wait: beside its storage pool, so that a file can have a name in both."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from ..workshop import workshop_of


def spool_directory(pool: Path) -> Path:
    """The spool for a storage pool; nothing is made.

    :param pool: the pool's directory
    """
    given = settings.DEVOPS_SPOOL
    return Path(given).expanduser() if given else workshop_of(pool) / "spool"
