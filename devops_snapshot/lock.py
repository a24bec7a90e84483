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
from typing import IO
from urllib.parse import quote

from .errors import ConflictError, DevopsError

_LONGEST = 200  # bytes of a file name, well below what any file system takes
_READERS = ".readers"
_held: set[int] = set()


@contextmanager
def changing(environment: str) -> Iterator[None]:
    """Hold the lock of the environment of that name.

    :raises ConflictError: another command holds it
    """
    with _lock_file(environment) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(
                f"another command is changing environment {environment!r} right now",
                hint="Try again when it has ended",
            ) from error
        _held.add(file.fileno())
        try:
            yield
        finally:
            _held.discard(file.fileno())


def held_descriptors() -> tuple[int, ...]:
    """For children that must not outlive the lock: as long as one has them open, it is held."""
    return tuple(_held)


@contextmanager
def reading(environment: str) -> Iterator[None]:
    """Inside, no layer or memory of the environment's snapshots goes away; any number may read.

    To be entered while :func:`changing` is held, and kept after that.
    """
    with _lock_file(environment, _READERS) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


def is_read(environment: str) -> bool:
    """Whether anybody is :func:`reading`; to be asked while :func:`changing` is held."""
    with _lock_file(environment, _READERS) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def directory() -> Path:
    """Where the locks are: whoever has another one has other locks."""
    return Path("~/.devops/locks").expanduser()


def _lock_file(environment: str, suffix: str = "") -> IO[str]:
    path = directory() / (quote(environment, safe="")[:_LONGEST] + suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w")
    except OSError as error:
        raise DevopsError(f"cannot lock environment {environment!r}: {error}") from error
