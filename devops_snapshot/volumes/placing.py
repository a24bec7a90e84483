"""Whether files can be given their names in a storage pool without libvirt."""

from __future__ import annotations

import os
from pathlib import Path

from ..connection import is_local
from ..contract import Pool


def are_ours(pool: Pool, directory: Path) -> bool:
    """Whether we may make files in a pool's directory, and read them when QEMU has had them.

    A QEMU of the system's takes the files of a guest for its own user, so whoever may only write to
    the directory could not read the file any more that he has made.

    :param directory: of the pool
    """
    if not is_local(pool.connection_string):
        return False
    try:
        owner = directory.stat().st_uid
    except OSError:
        return False
    return os.geteuid() in (0, owner) and os.access(directory, os.W_OK | os.X_OK)
