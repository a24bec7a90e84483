"""Where imports keep what they have fetched.

On the file system of the storage pool, so that a file can have a name there and one in the pool;
but not in the pool's directory, where libvirt lists even hidden directories as volumes, unless the
pool is a mount point and there is no other place.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

NAME = ".devops_snapshot"


def workshop_of(pool: Path) -> Path:
    """The directory for a storage pool; nothing is made.

    :param pool: the pool's directory
    """
    for parent in (pool.parent, pool):
        if _is_on_file_system_of(parent, pool) and _is_ours(parent / NAME):
            return parent / NAME
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
