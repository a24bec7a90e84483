"""Exports that have left their environments and wait to be sent.

``detach`` brings them here. ``spool`` is the directory of them, ``job`` one of them, ``capture``
takes the files into it, ``guard`` keeps those from being written to, ``room`` keeps it within its
limit. ``worker`` sends what is there, ``sending`` is how, ``receipts`` tell what has become of it,
``records`` reads those into the database.
"""

from .capture import CannotDetachError, Draft
from .detach import detach
from .job import Job, Tries
from .place import spool_directory
from .records import close_records
from .room import SpoolFullError
from .spool import Spool
from .worker import Worker

__all__ = [
    "CannotDetachError",
    "Draft",
    "Job",
    "Spool",
    "SpoolFullError",
    "Tries",
    "Worker",
    "close_records",
    "detach",
    "spool_directory",
]
