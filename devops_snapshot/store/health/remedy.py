"""What a storage administrator can do about an object that is not what it should be."""

from __future__ import annotations

from ..format.names import DELETED
from ..format.sealed import UPDATE_HINT
from .fault import EXPORT, LAYER, PACK, Fault, State

_EXPORT_AGAIN = "Exporting the same data again heals it"
_UNUSED = "No export needs what is damaged, and none will rely on it"
_GIVE_UP = "It cannot be imported any more: delete-export gives it up"
_IS_REMOVED = "It cannot be undeleted any more: the next storage-collect removes it"
_TIDIED = "The next storage-collect tidies it up"
_REMOVABLE = "No export depends on it: it may be removed by hand"
_LET_READ = "Let this user read it, and verify again"
_OF_KIND = {
    "settings": "storage-configure with both --keep and --min-age writes new ones",
    "pin": "It holds all the same: unpin-export, then pin-export make a new one",
    "condemned": _TIDIED,
    "leases": _TIDIED,
    "lease": _TIDIED,
}


def remedy(fault: Fault, *, is_needed: bool) -> str:
    """Return what to do, as one sentence.

    :param is_needed: by an export that cannot be imported with this fault
    """
    if fault.state is State.REFUSED:
        return _LET_READ
    if fault.newer:
        return UPDATE_HINT
    if fault.kind in (PACK, LAYER):
        return _EXPORT_AGAIN if is_needed else _UNUSED
    if fault.kind == EXPORT:
        return _IS_REMOVED if fault.object.startswith(f"{DELETED}/") else _GIVE_UP
    return _OF_KIND.get(fault.kind, _REMOVABLE)
