"""The directory in which exports wait.

::

    <spool>/<export id>/     a job, see :mod:`~.job`
    <spool>/.<export id>/    one that is being made
    <spool>/.gone-<id>/      one that is being removed
    <spool>/receipts/        what has become of jobs
    <spool>/lock             held for moments, while jobs are added or dropped
    <spool>/worker           held by the worker as long as it runs; has the id of what it sends
    <spool>/owners/<id>      held by who makes or sends that job
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from ..console import human_size
from ..errors import ConflictError, DevopsError, FormatError
from ..store import is_export_id
from ..write_guard import held_open
from .capture import CannotDetachError, Draft
from .guard import allow_many_files, leave_guard
from .job import Job, sync_directory, write_whole
from .receipts import Receipt, find_receipt, leave_receipt, receipts
from .room import SpoolFullError, limit_of, size_of, to_be_dropped

log = logging.getLogger(__name__)

_GONE = ".gone-"


class Spool:
    """A host's exports that wait to be sent.

    :param directory: made with the first job
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._told: set[Path] = set()

    def is_empty(self) -> bool:
        """Whether nothing waits, not even what is damaged."""
        return not any(self._listed())

    def has(self, export_id: str) -> bool:
        """Whether that export waits, damaged or not."""
        return (self.directory / export_id).is_dir()

    def jobs(self) -> list[Job]:
        """Those that wait, oldest first; a damaged one is told of, and left alone."""
        found = []
        for path in sorted(self._listed()):
            try:
                found.append(Job.read(path))
            except (OSError, FormatError) as error:
                if path.is_dir() and path not in self._told:  # else it was sent meanwhile
                    log.warning("%s", error)
                    self._told.add(path)
        return sorted(found, key=lambda job: (job.queued, job.id))

    def damaged(self, export_id: str) -> Job | None:
        """One that :meth:`jobs` leaves out, as root's; None: it is whole, or not there."""
        directory = self.directory / export_id
        if not is_export_id(export_id) or not self.has(export_id):
            return None
        try:
            Job.read(directory)
        except (OSError, FormatError):
            now = datetime.now(timezone.utc)
            return Job(export_id, directory, "", "", queued=now, snapshots=(), size=0)
        return None

    def add(self, job: Job, fill: Callable[[Draft], bytes]) -> Job:
        """Take a job in.

        :param job: what is known of it; its directory is the one it gets here
        :param fill: takes the files, and returns the manifest
        :raises CannotDetachError: a file cannot be taken, or the disk is full
        :raises SpoolFullError: there is no room for it
        """
        with ExitStack() as stack:
            stack.enter_context(_writing_to(self.directory))
            self._make()
            if not stack.enter_context(self._owned(job)):
                raise ConflictError(f"somebody else is making {job.id} in {self.directory}")
            draft = Draft(self.directory / f".{job.id}")
            try:
                return self._add(job, draft, fill)
            except BaseException:
                shutil.rmtree(draft.directory, ignore_errors=True)
                self._owner(job).unlink(missing_ok=True)
                raise

    def remove(self, job: Job, receipt: Receipt) -> None:
        """Let a job go, and say what became of it.

        :raises OSError: the disk is so full that this cannot be said; it stays, without its files
        """
        try:
            leave_receipt(self._receipts, receipt)
        except OSError:
            shutil.rmtree(job.files, ignore_errors=True)  # which may give it the room
            leave_receipt(self._receipts, receipt)
        gone = self.directory / f"{_GONE}{job.id}"
        with suppress(FileNotFoundError):
            (self.directory / job.id).rename(gone)
        self._owner(job).unlink(missing_ok=True)
        shutil.rmtree(gone, ignore_errors=True)

    def drop(self, job: Job, reason: str) -> bool:
        """Let a job go that was not sent; returns whether it could be: it may be sent right now."""
        with self.sending(job) as is_mine:
            if is_mine:
                receipt = Receipt(job.id, job.environment, job.storage, time.time(), error=reason)
                self.remove(job, receipt)
            return is_mine

    def receipts(self) -> list[Receipt]:
        return receipts(self._receipts)

    def receipt(self, export_id: str) -> Receipt | None:
        return find_receipt(self._receipts, export_id)

    @contextmanager
    def guarded(self, job: Job) -> Iterator[None]:
        """Inside, nobody writes to its files by their other names."""
        with held_open(str(job.files / str(number)) for number in job.linked):
            yield

    @contextmanager
    def sending(self, job: Job) -> Iterator[bool]:
        """Be the only one who sends a job; yields whether that is so."""
        with self._owned(job) as is_mine:
            yield is_mine and self.has(job.id)

    @contextmanager
    def seen_to_send(self, job: Job) -> Iterator[None]:
        """Inside, all can see what the worker, which calls this, is at."""
        self._say(job.id)
        try:
            yield
        finally:
            self._say("")

    def being_sent(self) -> str:
        """The id of what the worker is at right now; empty: of nothing."""
        return self._worker.read_text() if self.has_worker() else ""

    @contextmanager
    def working(self) -> Iterator[bool]:
        """Be the worker; yields whether there is no other.

        :raises DevopsError: there can be no spool
        """
        with ExitStack() as stack:
            try:
                self._make()
                is_mine = stack.enter_context(_held(self._worker))
            except OSError as error:
                raise DevopsError(
                    f"the spool {self.directory} cannot be used: {error.strerror}",
                    hint="DEVOPS_SPOOL names another directory",
                ) from error
            yield is_mine

    def has_worker(self) -> bool:
        """Whether somebody sends what is here."""
        try:
            with self._worker.open() as file:
                return not _lock(file.fileno())
        except FileNotFoundError:
            return False

    def sweep(self) -> None:
        """Remove what was half made, or half removed, by whoever was killed."""
        for path in self.directory.glob(".*-*"):
            if path.name.startswith(_GONE):
                shutil.rmtree(path, ignore_errors=True)
            elif is_export_id(path.name[1:]):
                with _held(self._owners / path.name[1:]) as is_mine:
                    if is_mine:
                        shutil.rmtree(path, ignore_errors=True)
        for owner in self._owners.glob("*"):
            if not self.has(owner.name):
                with _held(owner) as is_mine:
                    if is_mine:
                        owner.unlink(missing_ok=True)

    @property
    def limit(self) -> int:
        return limit_of(self.directory)

    @property
    def _worker(self) -> Path:
        return self.directory / "worker"

    @property
    def _receipts(self) -> Path:
        return self.directory / "receipts"

    @property
    def _owners(self) -> Path:
        return self.directory / "owners"

    def _owner(self, job: Job) -> Path:
        return self._owners / job.id

    @contextmanager
    def _owned(self, job: Job) -> Iterator[bool]:
        self._owners.mkdir(exist_ok=True)
        with _held(self._owner(job)) as is_mine:
            yield is_mine

    def _add(self, job: Job, draft: Draft, fill: Callable[[Draft], bytes]) -> Job:
        draft.directory.mkdir(mode=0o700)
        manifest = fill(draft)
        job = replace(job, directory=draft.directory, linked=tuple(draft.linked))
        write_whole(draft.directory / "manifest.json", manifest)
        write_whole(draft.directory / "job.json", job.encode())
        with self._locked():
            self._make_room_for(job)
            return self._admit(job)

    def _say(self, what: str) -> None:
        with suppress(OSError):  # the disk is full
            self._worker.write_text(what)

    def _listed(self) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            for path in self.directory.iterdir():
                if is_export_id(path.name) and path.is_dir():
                    yield path

    def _make(self) -> None:
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        status = self.directory.stat()
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            # What lies in it is sent with our keys, whatever it is.
            raise PermissionError(errno.EPERM, "others can write to it")

    def _make_room_for(self, job: Job) -> None:
        """:raises SpoolFullError: what may go is not enough"""
        waiting, limit = self.jobs(), self.limit
        dropped = [other for other in to_be_dropped([*waiting, job], limit=limit) if other != job]
        left = [other for other in waiting if other not in dropped]
        if size_of([*left, job]) > limit:
            raise SpoolFullError(
                f"the spool {self.directory} is full: {len(waiting)} exports wait there "
                f"and take {human_size(size_of(waiting))} of {human_size(limit)}",
                hint="See why they are not sent with 'dos.py export-status', "
                "or raise DEVOPS_SPOOL_LIMIT",
            )
        for other in dropped:
            if self.drop(other, "dropped unsent: the spool was full"):
                log.warning(
                    "The spool is full: %s of %s, whose test had passed, was dropped unsent",
                    other.id,
                    other.environment,
                )

    def _admit(self, job: Job) -> Job:
        """Guard its files, and give it its name."""
        allow_many_files()
        target = self.directory / job.id
        paths = [str(job.files / str(number)) for number in job.linked]
        with held_open(paths) as descriptors:
            leave_guard(target, descriptors)
            job.directory.rename(target)
        sync_directory(self.directory)
        return replace(job, directory=target)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.directory / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@contextmanager
def _writing_to(spool: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotDetachError(
            f"nothing can be written to the spool {spool}: {error.strerror}",
            hint="Free room there, or let the worker do so; DEVOPS_SPOOL names another directory",
        ) from error


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Hold the lock that a file is; yields whether that can be."""
    with path.open("a") as file:
        yield _lock(file.fileno())


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
