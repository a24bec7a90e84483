"""Leases: how a running export or import shows that it is alive, and where it prepares objects.

``leases/<lease>/`` holds ``lease.json`` (who and what for), ``beat-<n>`` (n grows while the client
lives; a collector watches the number and compares no clocks) and objects on their way.
"""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone

from devops_snapshot.errors import NotFoundError, StorageError
from devops_snapshot.remote import Remote

from .jsontypes import JSON
from .names import lease_directory
from .sealed import seal

log = logging.getLogger(__name__)

BEAT_SECONDS = 30.0


class Lease:
    """A lease that is held; writes objects under its protection."""

    def __init__(self, remote: Remote, lease_id: str) -> None:
        self.id = lease_id
        self.directory = lease_directory(lease_id)
        self._remote = remote
        self._numbers = itertools.count()
        self._directories: set[str] = set()

    def write(self, path: str, data: Iterable[bytes]) -> int:
        """Create a durable object, at once or not at all; return its size.

        :raises StorageError: the lease was revoked, because it seemed dead
        """
        directory = path.rpartition("/")[0]
        if directory not in self._directories:
            self._remote.mkdir(directory)
            self._directories.add(directory)
        staging = f"{self.directory}/unfinished-{next(self._numbers)}"
        try:
            return self._remote.write(path, data, staging=staging)
        except NotFoundError as error:
            raise StorageError(
                f"Lease {self.id} was revoked at {self._remote.url}, because it showed no life",
                hint="Try again: what has arrived is not sent again",
            ) from error


@contextmanager
def hold_lease(remote: Remote, purpose: Mapping[str, JSON]) -> Iterator[Lease]:
    """Take a lease, keep it alive in the background, release it at the end.

    :param purpose: what a storage administrator may want to know of it
    """
    lease = Lease(remote, secrets.token_hex(16))
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(remote, lease, stop), daemon=True)
    lease.write(f"{lease.directory}/lease.json", [_describe(lease, purpose)])
    beating.start()
    try:
        yield lease
    finally:
        stop.set()
        beating.join()
        _release(remote, lease)


def _describe(lease: Lease, purpose: Mapping[str, JSON]) -> bytes:
    return seal(
        "lease",
        {
            "lease": lease.id,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "taken": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **purpose,
        },
    )


def _beat(remote: Remote, lease: Lease, stop: threading.Event) -> None:
    for number in itertools.count():
        try:
            lease.write(f"{lease.directory}/beat-{number}", [b""])
            if number:
                remote.remove(f"{lease.directory}/beat-{number - 1}")
        except (StorageError, NotFoundError) as error:
            log.warning("Lease %s misses a beat: %s", lease.id, error)
        if stop.wait(BEAT_SECONDS):
            return


def _release(remote: Remote, lease: Lease) -> None:
    """Remove the lease; what cannot be removed now is left to collection."""
    try:
        for entry in remote.list(lease.directory):
            remote.remove(f"{lease.directory}/{entry.name}")
        remote.remove(lease.directory)
    except (StorageError, NotFoundError) as error:
        log.warning("Lease %s is not released: %s", lease.id, error)
