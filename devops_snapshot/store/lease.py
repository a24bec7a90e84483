"""Leases: how a running client shows that it is alive, and where it prepares objects.

``leases/<lease>/`` holds ``lease.json`` (who and what for), ``beat-<n>`` (n grows while the client
lives; a collector watches the number and compares no clocks) and objects on their way. A collector
that gives up on a client takes the whole directory away, so a client that wakes up later finds
nothing to publish from.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

from devops_snapshot.errors import ConflictError, NotFoundError, StorageError
from devops_snapshot.remote import Remote

from .format.jsontypes import JSON
from .format.names import lease_directory
from .format.sealed import seal

log = logging.getLogger(__name__)

BEAT_SECONDS = 30.0
WATCHED_BEATS = 3  # a lease whose beat stands still for so many times as long may be revoked
WATCH_SECONDS = WATCHED_BEATS * BEAT_SECONDS
_RETRY_HINT = "Try again: what has arrived is not sent again"


class Lease:
    """A lease that is held; writes objects under its protection. May be used by several threads.

    :ivar purpose: what ``lease.json`` says of it
    """

    def __init__(self, remote: Remote, lease_id: str, purpose: Mapping[str, JSON]) -> None:
        self.id = lease_id
        self.directory = lease_directory(lease_id)
        self.purpose = purpose
        self._remote = remote
        self._numbers = itertools.count()
        self._directories: set[str] = set()
        self._last_beat = _seconds()
        self._beat_path = f"{self.directory}/no-beat-yet"  # where the last one is
        self._beating: Future[None] | None = None

    def write(self, path: str, data: Iterable[bytes]) -> int:
        """Create a durable object, at once or not at all; return its size.

        :raises StorageError: the lease was revoked, because it seemed dead
        """
        self._check()
        self._make_directory(path)
        with self._revocation_told():
            return self._remote.write(path, data, staging=self._new_path("unfinished"))

    def publish(self, path: str, data: bytes) -> int:
        """Create an object that makes others reachable; fails for sure once revoked.

        :param path: a name that no other client uses
        :raises StorageError: the lease was revoked; nothing was published
        """
        manifest = f"{self.directory}/manifest"
        size = self.write(manifest, [data])
        self._make_directory(path)
        try:
            self._remote.rename(manifest, path)
        except NotFoundError:
            with self._revocation_told():  # unless that came just after the publication
                self._remote.stat(path)
        return size

    def discard(self, path: str) -> None:
        """Remove an object; whoever was revoked meanwhile removes nothing any more.

        It is first renamed into the lease's directory, which is not there then. Where renaming
        means copying, it is the time since the last beat that tells.

        :raises NotFoundError: it is gone already
        :raises StorageError: the lease was revoked
        """
        self.require_alive()
        if not self._remote.rename_is_move:
            self._remote.remove(path)
            return
        discarded = self._new_path("discarded")
        try:
            self._remote.rename(path, discarded)
        except NotFoundError:
            with self._revocation_told():
                self._remote.stat(f"{self.directory}/lease.json")
            raise
        self._remote.remove(discarded)

    def require_alive(self) -> None:
        """Make sure that nobody can have revoked the lease yet.

        :raises StorageError: its last beat is too long ago for that
        """
        self._check()
        if _seconds() - self._last_beat > WATCH_SECONDS / 2:
            raise StorageError(
                f"Lease {self.id} had no contact with {self._remote.url} for too long",
                hint="Try again when the storage node answers",
            )

    def storage_time(self) -> float:
        """Return seconds since 1970 by the storage node's own clock."""
        path = self._new_path("clock")
        self.write(path, [b"now"])
        now = self._remote.stat(path).modified
        self._remote.remove(path)
        return now

    def _new_path(self, kind: str) -> str:
        return f"{self.directory}/{kind}-{next(self._numbers)}"

    def _make_directory(self, path: str) -> None:
        directory = path.rpartition("/")[0]
        if directory not in self._directories:
            self._remote.mkdir(directory)
            self._directories.add(directory)

    def _check(self) -> None:
        """Stop at once if nothing shows any more that this client lives."""
        if self._beating and self._beating.done():
            raise StorageError(
                f"Lease {self.id} at {self._remote.url} is not kept alive", hint=_RETRY_HINT
            ) from self._beating.exception()

    @contextmanager
    def _revocation_told(self) -> Iterator[None]:
        try:
            yield
        except NotFoundError as error:
            raise StorageError(
                f"Lease {self.id} was revoked at {self._remote.url}, because it showed no life",
                hint=_RETRY_HINT,
            ) from error

    def _begin(self) -> None:
        self.write(f"{self.directory}/lease.json", [_describe(self)])

    def _beat(self, stop: threading.Event) -> None:
        for number in itertools.count():
            self._beat_once(number)
            if stop.wait(BEAT_SECONDS):
                return

    def _beat_once(self, number: int) -> None:
        started = _seconds()
        last, path = self._beat_path, f"{self.directory}/beat-{number}"
        try:
            self.write(path, [b""])
            with suppress(NotFoundError):  # the first one replaces none
                self._remote.remove(last)
        except StorageError as error:
            try:
                self._remote.rename(last, path)  # needs no room on a full storage node
            except (StorageError, NotFoundError, ConflictError):
                log.warning("Lease %s misses a beat: %s", self.id, error)
                return
        self._beat_path = path
        self._last_beat = started

    def _release(self) -> None:
        """Remove the lease; what cannot be removed now is left to collection.

        ``lease.json`` goes first: from then on the lease is in nobody's way.
        """
        if self.directory not in self._directories:  # it could not even be taken
            return
        try:
            names = [entry.name for entry in self._remote.list(self.directory)]
            for name in sorted(names, key="lease.json".__ne__):
                with suppress(NotFoundError):
                    self._remote.remove(f"{self.directory}/{name}")
            with suppress(NotFoundError):  # it was revoked
                self._remote.remove(self.directory)
        except (StorageError, ConflictError) as error:
            log.warning("Lease %s is not released: %s", self.id, error)


@contextmanager
def hold_lease(remote: Remote, purpose: Mapping[str, JSON]) -> Iterator[Lease]:
    """Take a lease, keep it alive in the background, release it at the end.

    Everybody can see the lease before this yields.

    :param purpose: ``purpose``, and what else a collector or a storage administrator needs to know
    """
    lease = Lease(remote, secrets.token_hex(16), purpose)
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="beat") as thread:
        try:
            lease._begin()
            lease._beating = thread.submit(lease._beat, stop)
            yield lease
        finally:
            stop.set()
            thread.shutdown()
            lease._release()


def _seconds() -> float:
    """A clock that is never set, and goes on while this machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _describe(lease: Lease) -> bytes:
    return seal(
        "lease",
        {
            "lease": lease.id,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "taken": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **lease.purpose,
        },
    )
