"""Pins: an export is kept for as long as ``pins/<export>`` exists.

The object is sealed and says who pinned the export and when, for people to read. Whoever may write
to the repository has written it, so what it says is never shown as it is.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timezone

from devops_snapshot.errors import ConflictError, FormatError, NotFoundError
from devops_snapshot.remote import AccessError, Entry, Remote

from ..format.names import PINS, is_export_id, pin_path
from ..format.sealed import seal, unseal, well_formed
from ..lease import Lease, hold_lease
from ..leases import read_holders
from ..repository import Repository

log = logging.getLogger(__name__)

LONGEST_BY = 100  # characters
_LONGEST_PIN = 4096  # bytes
_PARALLEL = 4  # pins read at the same time
_NOTES = "pin"  # the kind of notes


def pinned_exports(repository: Repository) -> frozenset[str]:
    """Return the ids of exports that are pinned; some may not exist any more."""
    return load_pins(repository.remote)


def pinned_by(repository: Repository) -> dict[str, str]:
    """Return who pinned which export, as one line; empty where that cannot be read."""
    remote, notes = repository.remote, repository.cache.notes
    listed = {_version(pin): pin for pin in remote.list(PINS) if is_export_id(pin.name)}
    known = {name: data for name, data in notes.all(_NOTES).items() if name in listed}
    notes.forget(_NOTES, notes.names(_NOTES) - listed.keys())
    lacking = [pin for name, pin in listed.items() if name not in known]
    with ThreadPoolExecutor(_PARALLEL) as threads:
        read = threads.map(lambda pin: _read(remote, pin.name), lacking)
        fresh = {_version(pin): data for pin, data in zip(lacking, read, strict=True)}
    found = {name: data for name, data in fresh.items() if data}
    notes.put(_NOTES, found)
    known |= found
    return {pin.name: _by(known.get(name, b""), pin.name) for name, pin in listed.items()}


def _version(pin: Entry) -> str:
    """Tell a pin from one that was made after it was removed."""
    return f"{pin.name} {pin.modified} {pin.size}"


def _read(remote: Remote, export_id: str) -> bytes:
    """Return nothing of a pin that was removed, or that this user may not read."""
    with suppress(NotFoundError, AccessError):
        return remote.read(pin_path(export_id), 0, _LONGEST_PIN)
    return b""


def _by(pin: bytes, export_id: str) -> str:
    where = f"Pin {pin_path(export_id)}"
    if not pin:
        return ""
    try:
        head, _ = unseal("pin", pin, where)
        with well_formed(where):
            return _presentable(str(head["by"]))
    except FormatError as error:  # the export is kept all the same
        log.warning("%s", error.message)
        return ""


def _presentable(by: str) -> str:
    """One line without what a terminal would obey, short enough for a table."""
    line = " ".join("".join(char if char.isprintable() else " " for char in by).split())
    return line if len(line) <= LONGEST_BY else line[: LONGEST_BY - 1] + "…"


def pin_export(repository: Repository, export_id: str, *, by: str) -> None:
    """Keep an export until it is unpinned.

    The pin is there before the export is looked for; whoever deletes looks for the pin afterwards,
    so one of the two sees the other.

    :param by: who wants that, for people to read; kept as one line, no longer than
        :data:`LONGEST_BY`
    :raises NotFoundError: there is no such export
    :raises ConflictError: somebody else is pinning it at this moment
    """
    remote = repository.remote
    repository.require_feature("write", "changed")
    repository.require_export(export_id)
    fields = {
        "by": _presentable(by),
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
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
