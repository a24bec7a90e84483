"""External snapshots: a tree of layers per disk, on top of the ORM and libvirt.

``create``, ``revert`` and ``delete`` are the deeds, ``listing`` shows what there is. A snapshot is
settled in ``plan``; ``freeze``, ``memory`` and ``switch`` are its steps, ``restore`` those of a
revert, ``internal`` is the other kind of snapshot; ``undo`` takes back what was done before a
failure. ``metadata`` is what libvirt knows of snapshots, ``overlays``, ``layers`` and ``pool`` deal
with files, ``domain_xml`` with what is written in definitions.
"""

from .clocks import clocks_behind
from .create import SnapshotResult, create
from .delete import Deletion, delete
from .listing import ListedSnapshot, list_snapshots
from .revert import revert
from .settle import keep_promises_of, settle
from .tidy import Waiting, tidy, tidy_up, waiting

__all__ = [
    "Deletion",
    "ListedSnapshot",
    "SnapshotResult",
    "Waiting",
    "clocks_behind",
    "create",
    "delete",
    "keep_promises_of",
    "list_snapshots",
    "revert",
    "settle",
    "tidy",
    "tidy_up",
    "waiting",
]
