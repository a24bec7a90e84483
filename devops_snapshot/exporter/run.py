"""One export from beginning to end, with its record in the database."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from .. import snapshot as snapshots
from ..errors import DevopsError, FormatError, UnsupportedError
from ..hypervisor import connection_of
from ..journey import recorded
from ..lock import changing, reading
from ..manifest import Manifest
from ..manifest.check import check_manifest
from ..manifest.reading import provenance, read_environment, read_host
from ..models import Export, StorageNode
from ..progress import Progress, Quiet
from ..remote import connect
from ..snapshot.freeze import frozen
from ..store import ExportSession, Repository, readable_retention
from ..write_guard import guarded
from .selection import Selection, check_names, select_definitions, select_snapshots
from .ship import ship
from .supported import check_exportable

log = logging.getLogger(__name__)

_RELATED = 3  # exports whose data is looked at beforehand


def export(
    environment: Any,
    *,
    storage: str,
    names: Sequence[str] = (),
    all_snapshots: bool = False,
    with_current: bool = False,
    definitions_only: bool = False,
    description: str = "",
    keep: datetime.timedelta | None = None,
    progress: Progress | None = None,
) -> Export:
    """Export an environment into the repository at ``storage``.

    Without ``names`` and ``all_snapshots`` a snapshot is taken now and exported; ``with_current``
    takes one besides those named. Every snapshot comes with its ancestors.

    :param environment: a row of ``devops.Environment``
    :param storage: URL of the storage node; an empty place becomes a repository
    :param names: snapshots to export
    :param definitions_only: leave disks and memory out
    :param description: free text, shown by ``list-exports``
    :param keep: for how long; otherwise the storage node's own setting counts
    :returns: the record: ``export_id``, bytes and times are filled in
    :raises DevopsError: recorded as failed; nothing was published
    """
    if definitions_only and (names or all_snapshots or with_current):
        raise DevopsError("definitions only: that leaves no room for snapshots")
    record = Export.objects.create(
        environment_id=environment.id,
        environment_name=environment.name,
        storage_url=storage,
        definitions_only=definitions_only,
    )
    with recorded(record), connect(storage) as remote:
        check_exportable(environment)
        takes_one = not definitions_only and (with_current or not (names or all_snapshots))
        if names or all_snapshots:
            check_names(environment, names)  # before a repository or a snapshot is made in vain
        repository = Repository.open(remote, create=True)
        _warn_if_pointless(repository, keep)
        record.storage_node = StorageNode.used(storage, repository.id)
        with ExitStack() as until_sent:
            taken = None
            with changing(environment.name):
                snapshots.settle(environment)
                if takes_one:
                    name = _name_for_now(environment)
                    taken = snapshots.create(environment, name, description=description)
                until_sent.enter_context(reading(environment.name))
            until_sent.enter_context(_kept(taken))
            selection = (
                select_definitions(environment)
                if definitions_only
                else select_snapshots(
                    environment, names, every=all_snapshots, now=taken.name if taken else None
                )
            )
            record.snapshots = list(selection.names)
            record.freeze_seconds = taken.longest_freeze if taken else None
            related = _related(repository, environment.name)
            with repository.writing(related) as session, _counted(record, session):
                record.export_id = session.export_id
                record.save()
                manifest = _send(
                    environment, selection, session, record, description, progress or Quiet()
                )
                session.publish(manifest.to_json(), summarise(manifest), keep)
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


def _name_for_now(environment: Any) -> str:
    """``export-<UTC time>``; another of that second gets a number."""
    name = f"export-{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%SZ}"
    taken = {snapshot.name for snapshot in snapshots.list_snapshots(environment)}
    names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 2)))
    return next(candidate for candidate in names if candidate not in taken)


def _related(repository: Repository, environment: str) -> list[str]:
    """The latest exports of an environment, from which the next will differ little."""
    entries = [e for e in repository.exports() if e.summary.get("environment") == environment]
    return [entry.id for entry in entries[: -_RELATED - 1 : -1]]


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


@contextmanager
def _kept(taken: snapshots.SnapshotResult | None) -> Iterator[None]:
    """If the export fails, the moment that was caught for it is not lost: say so."""
    try:
        yield
    except DevopsError as error:
        if taken is not None:
            error.hint = ". ".join(filter(None, [error.hint, _told(taken)]))
        raise
    except (KeyboardInterrupt, SystemExit):
        if taken is not None:
            log.warning("%s", _told(taken))
        raise


def _told(taken: snapshots.SnapshotResult) -> str:
    return f"Snapshot {taken.name!r} was taken and is kept: export it with --snapshot"


def _send(
    environment: Any,
    selection: Selection,
    session: ExportSession,
    record: Export,
    description: str,
    progress: Progress,
) -> Manifest:
    manifest = Manifest(
        environment=read_environment(
            environment,
            parts={node.node.id: node.parts for node in selection.nodes},
            volumes=set(selection.volumes),
        ),
        files=selection.files,
        snapshots=selection.names,
        current=selection.current,
        definitions_only=record.definitions_only,
        freeze_seconds=record.freeze_seconds,
        host=read_host(connection_of(selection.nodes[0].node)),
        provenance=provenance(description=description),
    )
    _require_importable(manifest)
    # Suspending makes QEMU flush its caches; a file that a guest writes to would be read stale.
    files = selection.files
    sealed = [file.path for file in files if file.path not in selection.writable]
    stored = selection.stored
    at_hand = [path for path in sealed if stored.find(path).is_at_hand]
    with frozen(selection.written_to) as freeze, guarded(at_hand):
        if not record.definitions_only:
            files = ship(files, stored, session, progress, sealed=sealed)
    if freeze.longest is not None:
        record.freeze_seconds = max(freeze.longest, record.freeze_seconds or 0.0)
    return manifest.model_copy(
        update={"files": tuple(files), "freeze_seconds": record.freeze_seconds}
    )


def _require_importable(manifest: Manifest) -> None:
    """Send nothing that no import would take.

    :raises UnsupportedError: saying why
    """
    try:
        check_manifest(manifest)
    except FormatError as error:
        name = manifest.environment.name
        raise UnsupportedError(
            f"environment {name!r} cannot be exported: no import would take it: {error.message}"
        ) from error


def summarise(manifest: Manifest) -> dict[str, Any]:
    """What a listing shows of an export."""
    return {
        "environment": manifest.environment.name,
        "snapshots": list(manifest.snapshots),
        "description": manifest.provenance.description,
        "host": manifest.host.name,
        "created": manifest.provenance.created.isoformat(),
        "nodes": [node.name for node in manifest.environment.nodes],
        "size": manifest.size,
        "definitions_only": manifest.definitions_only,
    }
