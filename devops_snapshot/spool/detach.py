"""An export that leaves its environment at once, and is sent later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import snapshot as snapshots
from ..exporter.chosen import check_wanted, chosen
from ..exporter.record import new_record, standing_still
from ..exporter.selection import Selection
from ..exporter.telling import manifest_of
from ..exporter.wanted import Wanted
from ..journey import recorded
from ..models import Export, State
from ..snapshot.pool import is_local, pool_directory
from ..store import new_export_id
from ..volumes import are_ours
from .capture import CannotDetachError
from .parcel import Parcel
from .place import spool_directory
from .queue import OpenQueue, Queue
from .room import limit_given
from .spool import Spool
from .without_root.asked import AskedQueue, NoWorkerError, worker_socket


def detach(environment: Any, *, storage: str, wanted: Wanted) -> Export:
    """Take an export out of an environment into this host's spool.

    Afterwards the environment can be erased, reverted or used; the worker sends the export.

    :param environment: a row of ``devops.Environment``
    :param storage: URL of the storage node, which is not asked now
    :returns: the record, which is queued: see :mod:`~.records`
    :raises CannotDetachError: a snapshot that was taken for it is kept: export that now
    :raises SpoolFullError: likewise
    :raises DevopsError: recorded as failed; nothing is in the spool
    """
    record = new_record(environment, storage=storage, wanted=wanted)
    with recorded(record, ends_as=State.QUEUED):
        check_wanted(environment, wanted)
        queue = _queue_of(environment)
        record.spool = str(queue.place)
        with chosen(environment, wanted) as (selection, taken):
            record.snapshots = list(selection.names)
            record.freeze_seconds = taken.longest_freeze if taken else None
            record.export_id = new_export_id()
            with standing_still(selection, record):
                try:
                    queue.take_in(_parcel(environment, selection, wanted, record))
                except CannotDetachError as error:
                    error.snapshots, error.export_id = selection.names, record.export_id
                    raise
    snapshots.tidy_up(environment.name)
    return record


def _queue_of(environment: Any) -> Queue:
    """That beside the storage pool of the environment, or what asks the worker for it.

    :raises CannotDetachError: libvirt is on another host, or the files are another user's and no
        worker answers
    :raises UsageError: the settings of the spool make no sense
    """
    for group in environment.get_groups():
        if "connection_string" in group.driver.params:
            if not is_local(group.driver):
                raise CannotDetachError(
                    f"{group.driver.connection_string} is on another host, whose files cannot be "
                    "taken here without being copied",
                    hint="Export from that host",
                )
            directory = pool_directory(group.driver)
            if are_ours(group.driver, directory):
                limit_given()  # what makes no sense is told before guests stand still
                return OpenQueue(Spool(spool_directory(directory)))
            return _queue_of_worker(directory)
    raise CannotDetachError(f"environment {environment.name!r} has no storage pool")


def _queue_of_worker(directory: Path) -> Queue:
    queue = AskedQueue(worker_socket())
    try:
        queue.check()
    except NoWorkerError as error:
        raise CannotDetachError(
            f"files in {directory} are not ours to take, and {error.message}", hint=error.hint
        ) from error
    return queue


def _parcel(environment: Any, selection: Selection, wanted: Wanted, record: Export) -> Parcel:
    manifest = manifest_of(
        environment,
        selection,
        wanted,
        files=selection.files,
        freeze_seconds=record.freeze_seconds,
    )
    return Parcel(
        id=record.export_id,
        storage=record.storage_url,
        manifest=manifest,
        sealed=frozenset(selection.sealed),
        keep=wanted.keep,
    )
