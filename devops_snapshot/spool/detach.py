"""An export that leaves its environment at once, and is sent later."""

from __future__ import annotations

import datetime
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
from .capture import CannotDetachError, Draft
from .job import Job
from .place import spool_directory
from .spool import Spool


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
        spool = Spool(_spool_of(environment))
        record.spool = str(spool.directory)
        with chosen(environment, wanted) as (selection, taken):
            record.snapshots = list(selection.names)
            record.freeze_seconds = taken.longest_freeze if taken else None
            record.export_id = new_export_id()
            with standing_still(selection, record):
                job = _job(record, selection, wanted)
                try:
                    spool.add(
                        job, lambda draft: _fill(draft, environment, selection, wanted, record)
                    )
                except CannotDetachError as error:
                    error.snapshots = selection.names
                    raise
    snapshots.tidy_up(environment.name)
    return record


def _spool_of(environment: Any) -> Path:
    """The spool beside the storage pool of the environment.

    :raises CannotDetachError: libvirt is on another host, or the files are another user's
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
            if not are_ours(group.driver, directory):
                raise CannotDetachError(
                    f"files in {directory} are not ours to take without being copied",
                    hint="Export as root",
                )
            return spool_directory(directory)
    raise CannotDetachError(f"environment {environment.name!r} has no storage pool")


def _job(record: Export, selection: Selection, wanted: Wanted) -> Job:
    return Job(
        id=record.export_id,
        directory=Path(),  # the spool knows
        environment=record.environment_name,
        storage=record.storage_url,
        queued=datetime.datetime.now(datetime.timezone.utc),
        snapshots=selection.names,
        size=sum(file.size for file in selection.files),
        keep_seconds=wanted.keep.total_seconds() if wanted.keep else None,
        test=wanted.test.name if wanted.test else "",
        outcome=wanted.test.outcome if wanted.test else "",
    )


def _fill(
    draft: Draft, environment: Any, selection: Selection, wanted: Wanted, record: Export
) -> bytes:
    files = selection.files
    paths = [] if wanted.definitions_only else [file.path for file in files]
    draft.take(paths, sealed=frozenset(selection.sealed))
    manifest = manifest_of(
        environment, selection, wanted, files=files, freeze_seconds=record.freeze_seconds
    )
    return manifest.to_json()
