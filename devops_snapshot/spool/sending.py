"""Sending one job to its storage node."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConflictError, NotFoundError
from ..exporter.ship import related_exports, ship
from ..exporter.telling import summarise
from ..manifest import Manifest
from ..progress import Progress
from ..remote import connect
from ..store import FileSource, LayerSource, Repository, Stats
from .job import Job
from .receipts import Receipt

log = logging.getLogger(__name__)


def send(job: Job, *, progress: Progress, rate: int | None = None) -> Receipt:
    """Make the export exist on the storage node, if it does not yet.

    It has its id from the beginning. Whoever was killed after it was published, and before the
    job was removed, finds it there; also if somebody has deleted it since.

    :param rate: bytes a second that are sent at most
    :raises DevopsError: try again later; what has arrived is not sent again
    """
    with connect(job.storage, rate=rate) as remote:
        repository = Repository.open(remote, create=True)
        stats = Stats()
        if repository.has_or_had(job.id):
            log.info("Export %s is at %s already", job.id, remote.url)
        else:
            stats = _send(job, repository, progress)
    return Receipt(
        job.id,
        job.environment,
        job.storage,
        time.time(),
        bytes_read=stats.bytes_read,
        bytes_sent=stats.bytes_sent,
        bytes_deduplicated=stats.bytes_deduplicated,
        bytes_unread=stats.bytes_unread,
    )


def _send(job: Job, repository: Repository, progress: Progress) -> Stats:
    manifest = Manifest.from_json(job.manifest)
    related = related_exports(repository, job.environment)
    with repository.writing(related, export_id=job.id) as session:
        files = manifest.files
        if not manifest.definitions_only:
            spooled = _SpooledFiles(job, manifest)
            paths = [file.path for file in files]
            files = ship(files, spooled, session, progress, sealed=paths)
        manifest = manifest.model_copy(update={"files": files})
        with suppress(ConflictError):  # somebody else has sent the same spool
            session.publish(manifest.to_json(), summarise(manifest), job.keep)
        return session.stats


@dataclass(frozen=True)
class _Spooled:
    path: Path

    def opened(self) -> AbstractContextManager[LayerSource]:
        return FileSource.open(self.path)


class _SpooledFiles:
    """The files of a job by the paths that they had in their environment."""

    def __init__(self, job: Job, manifest: Manifest) -> None:
        self._places = dict(_places(job, manifest))

    def find(self, path: str) -> _Spooled:
        try:
            return _Spooled(self._places[path])
        except KeyError:
            raise NotFoundError(f"{path} is not in the spool") from None


def _places(job: Job, manifest: Manifest) -> Iterator[tuple[str, Path]]:
    for number, file in enumerate(manifest.files):
        yield file.path, job.files / str(number)
