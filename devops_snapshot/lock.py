"""One command at a time changes an environment.

A snapshot of all nodes at one moment would be none if a second command resumed, reverted or stopped
guests meanwhile. The lock is a file under ``~/.devops/locks``, free again when its holder ends in
whatever way; virsh and fuel-devops do not know it, so :mod:`devops_snapshot.snapshot` looks again.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from .errors import ConflictError, DevopsError

_LONGEST = 200  # bytes of a file name, well below what any file system takes


@contextmanager
def changing(environment: str) -> Iterator[None]:
    """Hold the lock of the environment of that name.

    :raises ConflictError: another command holds it
    """
    path = Path("~/.devops/locks").expanduser() / quote(environment, safe="")[:_LONGEST]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise DevopsError(f"cannot lock environment {environment!r}: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(
                f"another command is changing environment {environment!r} right now",
                hint="Try again when it has ended",
            ) from error
        yield
