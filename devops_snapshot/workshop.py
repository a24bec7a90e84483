"""Where imports keep what they have fetched, and exports what they have not sent yet.

On the file system of the storage pool, so that a file can have a name there and one in the pool;
beside the pool's directory, since libvirt lists even hidden directories in it as volumes. Where the
pool is a mount point, there is no place but in it: there the name ends in a control character, and
what has one in its name libvirt leaves out (``virStorageBackendRefreshLocal``; tried with 9.0).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

NAME = ".devops_snapshot"
NAME_IN_POOL = f"{NAME}\x01"


def workshop_of(pool: Path) -> Path:
    """The directory for a storage pool; nothing is made.

    :param pool: the pool's directory
    """
    for directory in (pool.parent / NAME, pool / NAME_IN_POOL):
        if _is_on_file_system_of(directory.parent, pool) and _is_ours(directory):
            return directory
    return private_workshop()


def private_workshop() -> Path:
    """The directory for storage pools whose files are not ours to make."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "devops_snapshot"


def _is_on_file_system_of(directory: Path, other: Path) -> bool:
    try:
        return directory.stat().st_dev == other.stat().st_dev
    except OSError:
        return False


def _is_ours(directory: Path) -> bool:
    """Whether it is there and nobody else can write to it, or can be made."""
    try:
        status = directory.lstat()
    except FileNotFoundError:
        return os.access(directory.parent, os.W_OK | os.X_OK)
    except OSError:
        return False
    is_private = not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and is_private
