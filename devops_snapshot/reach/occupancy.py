"""Who is in an environment's namespace right now.

Locks on files tell, since the kernel releases them when their holder ends in whatever way: a
process id would have to be compared with the process's start, and may be another container's.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ..errors import ConflictError
from ..interrupts import Heed, heed_nothing
from .place import RUN, Place

PATIENCE = 120.0
"""Seconds; a bridge with spanning tree may take 30 to let a new port through."""

_PAUSE = 0.02


@contextmanager
def alone(place: Place, *, heed: Heed = heed_nothing, patience: float = PATIENCE) -> Iterator[None]:
    """Inside, nobody else sets the namespace up, takes it down, enters or leaves it.

    :param patience: seconds to wait for another command that does
    :raises ConflictError: it does not end
    """
    deadline = time.monotonic() + patience
    with _file(place, "gate") as gate:
        while not _lock(gate, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise ConflictError(
                    f"another env-shell has been setting up {place.namespace} for a long time",
                    hint=f"See who: fuser -v {gate.name}",
                )
            time.sleep(_PAUSE)
            heed()
        yield


def enter(place: Place) -> IO[str]:
    """Be inside until this is closed; to be called while :func:`alone`."""
    inside = _file(place, "inside")
    fcntl.flock(inside, fcntl.LOCK_SH)
    return inside


def is_occupied(place: Place) -> bool:
    """Whether anybody is inside; to be called while :func:`alone`."""
    with _file(place, "inside") as inside:
        return not _lock(inside, fcntl.LOCK_EX)


def _lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _file(place: Place, what: str) -> IO[str]:
    """Stays there, empty: removed, it could be locked by one and made anew by another."""
    RUN.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    return os.fdopen(os.open(RUN / f"{place.id}.{what}", flags, mode=0o600), "w")
