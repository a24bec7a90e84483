"""Exports that have left their environments and wait to be sent.

``detach`` brings them here. ``spool`` is the directory of them, ``job`` one of them; a ``parcel``
becomes one. ``capture`` takes the files into it, ``guard`` keeps those from being written to,
``room`` keeps it within its limit. ``worker`` sends what is there, ``sending`` is how, ``receipts``
tell what has become of it, ``records`` reads those into the database.

Only root may look into the spool. ``queue`` is what commands see of it, and ``queues`` finds it; to
users ``without_root`` the worker tells.
"""

from .capture import CannotDetachError, Draft
from .detach import detach
from .job import Job, Tries
from .parcel import Parcel, take_in
from .place import spool_directory
from .queue import OpenQueue, Queue, Waiting
from .queues import queue_at
from .records import close_records
from .room import SpoolFullError
from .spool import Spool
from .without_root.asked import AskedQueue, worker_socket
from .without_root.desk import Desk
from .without_root.listening import GROUP, group_id, listening
from .worker import Worker

__all__ = [
    "GROUP",
    "AskedQueue",
    "CannotDetachError",
    "Desk",
    "Draft",
    "Job",
    "OpenQueue",
    "Parcel",
    "Queue",
    "Spool",
    "SpoolFullError",
    "Tries",
    "Waiting",
    "Worker",
    "close_records",
    "detach",
    "group_id",
    "listening",
    "queue_at",
    "spool_directory",
    "take_in",
    "worker_socket",
]
