"""External snapshots: a tree of layers per disk, on top of the ORM and libvirt.

``metadata`` reads what libvirt knows, ``create``, ``revert`` and ``delete`` change it;
``overlays``, ``layers`` and ``pool`` deal with the files, ``domain_xml`` and ``qcow2`` with what is
written in them.
"""

from .create import SnapshotResult, create
from .delete import delete
from .listing import ListedSnapshot, list_snapshots
from .revert import revert

__all__ = ["ListedSnapshot", "SnapshotResult", "create", "delete", "list_snapshots", "revert"]
