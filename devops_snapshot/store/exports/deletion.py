"""Deleting exports, which can be undone until a collection has run.

A deleted export is its object, renamed from ``exports/`` to ``deleted/``. To undo that is to make
something reachable again, so it follows the rules of an export: a lease that all can see comes
first, then a look at what is condemned.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime, timezone

from devops_snapshot.errors import ConflictError, FormatError, NotFoundError
from devops_snapshot.remote import Entry, Remote

from ..collection.condemned import Objects, load_condemned
from ..format.envelope import LONGEST_HEAD, ExportEntry, decode_entry, decode_envelope
from ..format.names import (
    DELETED,
    EXPORTS,
    LayerId,
    deleted_path,
    export_id_of,
    export_path,
    is_export_id,
    pack_path,
)
from ..leases import Sleep
from ..reading.layer_objects import readable_layers
from ..repository import Repository
from .moves import move_export
from .pins import is_pinned

log = logging.getLogger(__name__)

_PINNED_HINT = "Unpin it first"


def delete_export(
    repository: Repository, export_id: str, *, wait: bool = True, sleep: Sleep = time.sleep
) -> None:
    """Take an export out of the list; its room comes free with the next collection.

    :param wait: up to a minute for somebody else who deletes or undeletes it
    :raises NotFoundError: there is no export with exactly that id
    :raises ConflictError: it is pinned, or somebody else is deleting or undeleting it
    """
    repository.require_feature("write", "changed")
    repository.require_export(export_id)
    with move_export(repository.remote, "delete", export_id, wait=wait, sleep=sleep):
        moved = not is_pinned(repository.remote, export_id) and move_to_deleted(
            repository, export_id
        )
    if not moved:
        raise ConflictError(f"Export {export_id} is pinned", hint=_PINNED_HINT)


def move_to_deleted(repository: Repository, export_id: str) -> bool:
    """Delete an export, unless it turns out to have been pinned meanwhile.

    To be called only by who moves it alone.

    :raises NotFoundError: there is no such export
    """
    remote = repository.remote
    remote.mkdir(DELETED)
    try:
        remote.rename(export_path(export_id), deleted_path(export_id))
    except ConflictError:  # another deletion, or its undoing, was cut short between two steps
        remote.remove(export_path(export_id))
    if is_pinned(remote, export_id):
        remote.rename(deleted_path(export_id), export_path(export_id))
        return False
    return True


def undelete_export(
    repository: Repository, export_id: str, *, wait: bool = True, sleep: Sleep = time.sleep
) -> None:
    """Undo the deletion of an export; one that is not deleted is left as it is.

    :param wait: up to a minute for somebody else who deletes or undeletes it
    :raises NotFoundError: it was not deleted, or a collection has removed it for good
    :raises ConflictError: somebody else is deleting or undeleting it
    """
    repository.require_feature("write", "changed")
    remote = repository.remote
    unknown = NotFoundError(
        f"There is no deleted export {export_id!r} at {remote.url}",
        hint="A collection removes deleted exports for good",
    )
    if not is_export_id(export_id):
        raise unknown
    path = deleted_path(export_id)
    with move_export(remote, "undelete", export_id, wait=wait, sleep=sleep):
        condemned = load_condemned(remote)
        try:
            envelope = decode_envelope(export_id, remote.read(path), f"Deleted export {path}")
            for layer in envelope.layers:
                _require_whole(remote, layer, condemned, export_id)
            remote.rename(path, export_path(export_id))
        except NotFoundError as error:
            if not _exists(remote, export_path(export_id)):
                raise unknown from error
        except ConflictError:  # it exists; what lies in deleted/ stays until it is deleted
            return


def deleted_exports(repository: Repository) -> list[ExportEntry]:
    """Return what can still be undeleted, oldest first; what cannot be read is only warned of."""
    remote = repository.remote
    existing = {entry.name for entry in remote.list(EXPORTS)}
    found = [entry for entry in remote.list(DELETED) if entry.name not in existing]
    entries = filter(None, (_entry(remote, entry) for entry in found))
    return sorted(entries, key=lambda entry: (entry.published, entry.id))


def _entry(remote: Remote, found: Entry) -> ExportEntry | None:
    export_id = export_id_of(found.name)
    if export_id is None:
        return None
    path = deleted_path(export_id)
    stored = datetime.fromtimestamp(found.modified, timezone.utc)
    try:
        line = remote.read(path, 0, LONGEST_HEAD).partition(b"\n")[0] + b"\n"
        return decode_entry(export_id, line, f"Deleted export {path}", stored=stored)
    except FormatError as error:
        log.warning("%s", error)
    except NotFoundError:  # collected or undeleted since it was listed
        pass
    return None


def _require_whole(remote: Remote, layer_id: LayerId, condemned: Objects, export_id: str) -> None:
    """Make sure that no collection is about to remove what a layer needs.

    :raises NotFoundError: one is, or has done so
    """
    for layer in readable_layers(remote, layer_id, avoid=condemned.layers):
        packs = set(layer.packs)
        if packs.isdisjoint(condemned.packs) and all(
            _exists(remote, pack_path(pack)) for pack in packs
        ):
            return
    raise NotFoundError(f"Layer {layer_id} of export {export_id} is being removed")


def _exists(remote: Remote, path: str) -> bool:
    try:
        remote.stat(path)
    except NotFoundError:
        return False
    return True
