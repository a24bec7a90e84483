"""The exports that wait on this host, for those who may look into the spool, and for all others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import ConflictError, NotFoundError
from ..exporter.telling import summarise
from ..manifest import Manifest
from .job import Job, Tries
from .parcel import Parcel, take_in
from .receipts import Receipt
from .room import size_of
from .spool import Spool


@dataclass(frozen=True)
class Waiting:
    """A job, and how far it is."""

    job: Job
    tries: Tries
    is_being_sent: bool


@dataclass(frozen=True)
class Overview:
    """What waits.

    :param directory: of the spool
    :param waiting: oldest first
    :param size: bytes that they take
    :param limit: bytes that they may take
    """

    directory: Path
    waiting: tuple[Waiting, ...]
    size: int
    limit: int


@dataclass(frozen=True)
class Fate:
    """What became of an export.

    :param waits: it is still there
    :param receipt: it has ended; without it and not waiting, it is unknown
    """

    waits: bool
    receipt: Receipt | None


class Queue(Protocol):
    """The exports that wait on this host."""

    @property
    def place(self) -> Path:
        """By which it can be found again: see :func:`~.queues.queue_at`."""

    def has_worker(self) -> bool:
        """Whether somebody sends them."""

    def take_in(self, parcel: Parcel) -> None:
        """:raises CannotDetachError: a file cannot be taken
        :raises SpoolFullError: there is no room for it
        """

    def overview(self) -> Overview: ...

    def summary(self, export_id: str) -> Mapping[str, Any]:
        """What the storage node will show of it.

        :raises NotFoundError: it does not wait any more
        """

    def fate(self, export_id: str) -> Fate: ...

    def retry(self) -> None:
        """Let the worker try now all of them that are ours."""

    def drop(self, export_id: str) -> None:
        """Give one up.

        :raises NotFoundError: it does not wait
        :raises ConflictError: it is being sent, or not ours
        """


@dataclass(frozen=True)
class OpenQueue:
    """Of a spool that is ours to read and write.

    :param uid: for whom it is asked; root may do everything
    """

    spool: Spool
    uid: int = 0

    @property
    def place(self) -> Path:
        return self.spool.directory

    def has_worker(self) -> bool:
        return self.spool.has_worker()

    def take_in(self, parcel: Parcel) -> None:
        take_in(self.spool, parcel, uid=os.geteuid())

    def overview(self) -> Overview:
        jobs, being_sent = self.spool.jobs(), self.spool.being_sent()
        waiting = tuple(Waiting(job, Tries.of(job), job.id == being_sent) for job in jobs)
        size, limit = (size_of(jobs), self.spool.limit) if jobs else (0, 0)
        return Overview(self.spool.directory, waiting, size, limit)

    def summary(self, export_id: str) -> Mapping[str, Any]:
        job = self._job(export_id)
        try:
            return summarise(Manifest.from_json(job.manifest))
        except FileNotFoundError:  # sent meanwhile
            raise self._does_not_wait(export_id) from None

    def fate(self, export_id: str) -> Fate:
        waits = self.spool.has(export_id)  # looked at first: it leaves a receipt before it goes
        return Fate(waits, self.spool.receipt(export_id))

    def retry(self) -> None:
        for job in self.spool.jobs():
            if self._may_change(job):
                Tries.forget(job)

    def drop(self, export_id: str) -> None:
        job = self.spool.damaged(export_id) or self._job(export_id)
        if not self._may_change(job):
            raise ConflictError(f"{export_id} is another user's export")
        if not self.spool.drop(job, "dropped by a user"):
            raise ConflictError(f"{export_id} is being sent right now")

    def _may_change(self, job: Job) -> bool:
        return self.uid in (0, job.uid)

    def _job(self, export_id: str) -> Job:
        for job in self.spool.jobs():
            if job.id == export_id:
                return job
        raise self._does_not_wait(export_id)

    def _does_not_wait(self, export_id: str) -> NotFoundError:
        return NotFoundError(f"No export {export_id!r} waits in {self.spool.directory}")
