"""Finding the exports that wait on this host."""

from __future__ import annotations

import os
from pathlib import Path

from .queue import OpenQueue, Queue
from .spool import Spool
from .without_root.asked import AskedQueue


def queue_at(place: Path) -> Queue | None:
    """Those of a spool, or those of which the worker at a socket is asked.

    :param place: see :attr:`~.queue.Queue.place`
    :returns: None: it is not of this host, or not ours to look into, or the worker has ended
    """
    try:
        if place.is_socket():
            return AskedQueue(place)
        if place.is_dir() and os.access(place, os.R_OK | os.W_OK | os.X_OK):
            return OpenQueue(Spool(place))
    except PermissionError:  # of a directory above
        pass
    return None
