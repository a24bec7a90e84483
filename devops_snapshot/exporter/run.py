"""One export from beginning to end, with its record in the database."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import snapshot as snapshots
from ..errors import ConflictError
from ..journey import recorded
from ..manifest import Manifest
from ..models import Export, StorageNode
from ..progress import Progress, Quiet
from ..remote import connect
from ..store import ExportSession, Repository, readable_retention
from .chosen import check_wanted, chosen
from .record import new_record, standing_still
from .selection import Selection
from .ship import related_exports, ship
from .telling import manifest_of, summarise
from .wanted import Wanted

log = logging.getLogger(__name__)

_ONE_OF_NOW = Wanted()


def export(
    environment: Any,
    *,
    storage: str,
    wanted: Wanted = _ONE_OF_NOW,
    progress: Progress | None = None,
    export_id: str | None = None,
) -> Export:
    """Export an environment into the repository at ``storage``.

    :param environment: a row of ``devops.Environment``
    :param storage: URL of the storage node; an empty place becomes a repository
    :param export_id: of :func:`~devops_snapshot.store.new_export_id`, for one that somebody else
        may have published by now; otherwise it gets one now
    :returns: the record: ``export_id``, bytes and times are filled in
    :raises DevopsError: recorded as failed; nothing was published
    """
    record = new_record(environment, storage=storage, wanted=wanted)
    with recorded(record), connect(storage) as remote:
        check_wanted(environment, wanted)
        repository = Repository.open(remote, create=True)
        _warn_if_pointless(repository, wanted.keep)
        record.storage_node = StorageNode.used(storage, repository.id)
        with chosen(environment, wanted) as (selection, taken):
            record.snapshots = list(selection.names)
            record.freeze_seconds = taken.longest_freeze if taken else None
            related = related_exports(repository, environment.name)
            writing = repository.writing(related, export_id=export_id)
            with writing as session, _counted(record, session):
                record.export_id = session.export_id
                record.save()
                manifest = _send(
                    environment, selection, wanted, session, record, progress or Quiet()
                )
                try:
                    session.publish(manifest.to_json(), summarise(manifest), wanted.keep)
                except ConflictError:
                    if export_id is None or not repository.has_or_had(export_id):
                        raise
    snapshots.tidy_up(environment.name)
    return record


def _warn_if_pointless(repository: Repository, keep: datetime.timedelta | None) -> None:
    """Say what counts where an export is to be kept for less time than nothing is removed."""
    if keep is None:
        return
    retention = readable_retention(repository)
    if retention and keep < retention.min_age:
        log.warning(
            "The export is kept for %g h all the same: that is the minimum age of %s",
            retention.min_age / datetime.timedelta(hours=1),
            repository.remote.url,
        )


@contextmanager
def _counted(record: Export, session: ExportSession) -> Iterator[None]:
    """Keep in the record what was transferred, also when it was in vain."""
    try:
        yield
    finally:
        stats = session.stats
        record.bytes_read = stats.bytes_read
        record.bytes_sent = stats.bytes_sent
        record.bytes_deduplicated = stats.bytes_deduplicated
        record.bytes_unread = stats.bytes_unread


def _send(
    environment: Any,
    selection: Selection,
    wanted: Wanted,
    session: ExportSession,
    record: Export,
    progress: Progress,
) -> Manifest:
    files = selection.files
    with standing_still(selection, record):
        if not wanted.definitions_only:
            files = ship(files, selection.stored, session, progress, sealed=selection.sealed)
    return manifest_of(
        environment, selection, wanted, files=files, freeze_seconds=record.freeze_seconds
    )
