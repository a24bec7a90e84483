"""Pins: an export is kept for as long as ``pins/<export>`` exists.

The object is sealed and says who pinned the export and when, for people to read.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone

from devops_snapshot.errors import ConflictError, NotFoundError
from devops_snapshot.remote import Remote

from ..format.names import PINS, is_export_id, pin_path
from ..format.sealed import seal
from ..lease import Lease, hold_lease
from ..leases import read_holders
from ..repository import Repository


def pinned_exports(repository: Repository) -> frozenset[str]:
    """Return the ids of exports that are pinned; some may not exist any more."""
    return load_pins(repository.remote)


def pin_export(repository: Repository, export_id: str, *, by: str) -> None:
    """Keep an export until it is unpinned.

    The pin is there before the export is looked for; whoever deletes looks for the pin afterwards,
    so one of the two sees the other.

    :param by: who wants that, for people to read
    :raises NotFoundError: there is no such export
    :raises ConflictError: somebody else is pinning it at this moment
    """
    remote = repository.remote
    repository.require_feature("write", "changed")
    repository.require_export(export_id)
    fields = {"by": by, "when": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    with hold_lease(remote, {"purpose": "pin", "export": export_id}) as lease:
        try:
            lease.write(pin_path(export_id), [seal("pin", fields)])
        except ConflictError:  # pinned already, and that is for its owner to take back
            _require_no_other_pinning(remote, lease)
            repository.require_export(export_id)
            return
        try:
            repository.require_export(export_id)
        except NotFoundError:
            unpin_export(repository, export_id)
            raise


def _require_no_other_pinning(remote: Remote, own: Lease) -> None:
    """Do not rely on a pin that whoever made it may still take back."""
    for holder in read_holders(remote):
        is_pinning = holder.purpose == "pin" and holder.export == own.purpose["export"]
        if is_pinning and holder.lease != own.id:
            raise ConflictError(
                f"Export {holder.export} is just being pinned: {holder}", hint="Try again"
            )


def unpin_export(repository: Repository, export_id: str) -> None:
    """Let an export expire as others; one that is not pinned is left as it is."""
    repository.require_feature("write", "changed")
    if is_export_id(export_id):
        with suppress(NotFoundError):
            repository.remote.remove(pin_path(export_id))


def load_pins(remote: Remote) -> frozenset[str]:
    return frozenset(entry.name for entry in remote.list(PINS) if is_export_id(entry.name))


def is_pinned(remote: Remote, export_id: str) -> bool:
    try:
        remote.stat(pin_path(export_id))
    except NotFoundError:
        return False
    return True
