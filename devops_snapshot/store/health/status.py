"""How a repository is: what it holds, how much room is left, and when it was last looked after."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from devops_snapshot.errors import FormatError, StorageError
from devops_snapshot.remote import Entry, Remote

from ..collection.inventory import list_packs
from ..exports.pins import load_pins
from ..exports.retention import Retention
from ..format.envelope import ExportEntry
from ..format.names import DELETED, EXPORTS, LAYERS, export_id_of, lease_directory
from ..lease import BEAT_SECONDS
from ..leases import Holder, list_leases, read_holder
from ..repository import Repository
from .damage import load_damage
from .history import COLLECTION, DATA_VERIFICATION, VERIFICATION, Event, last

log = logging.getLogger(__name__)

_PARALLEL = 4  # listings at the same time
_SHORTEST = timedelta(hours=1)  # over which a rate is told
_DEAD_SECONDS = 3 * BEAT_SECONDS


@dataclass(frozen=True)
class Worker:
    """Who holds a lease.

    :param silent: for how long it has shown no sign of life, by the storage node's clock
    """

    holder: Holder
    silent: timedelta

    @property
    def seems_dead(self) -> bool:
        return self.silent.total_seconds() > _DEAD_SECONDS


@dataclass(frozen=True)
class Status:
    """What an administrator of a storage node wants to know; sizes in bytes.

    :param retention: None if its settings are damaged, or of a newer release
    :param free: what this user can still write; None where the storage cannot tell
    :param stored: what packs, layers and exports take
    :param exports: how many there are; of these ``pinned`` and ``expired``, None if nobody knows;
        ``deleted`` come on top
    :param logical: what the exports would take if each were copied whole, without holes
    :param stored_per_day: how much was added lately: packs not older than ``window``
    :param collected: what the last collection told; likewise ``verified``, and ``data_verified``,
        which read all data
    :param damaged: objects known to be damaged that are still there
    :param now: by the storage node's clock, as are the times of events
    """

    url: str
    id: str
    retention: Retention | None
    free: int | None
    stored: int
    packs: int
    exports: int
    pinned: int
    deleted: int
    expired: int | None
    logical: int
    stored_per_day: int
    window: timedelta
    collected: Event | None
    verified: Event | None
    data_verified: Event | None
    damaged: int
    workers: Sequence[Worker]
    now: datetime

    @property
    def ratio(self) -> float | None:
        """How many bytes of files a stored byte stands for."""
        return self.logical / self.stored if self.stored else None

    @property
    def lasts(self) -> timedelta | None:
        """How long the free space lasts at the present rate, if nothing is removed."""
        if self.free is None or not self.stored_per_day:
            return None
        return timedelta(days=min(self.free / self.stored_per_day, 36500))


def status(repository: Repository) -> Status:
    """Look at a repository; nothing in it is changed."""
    remote = repository.remote
    now = _storage_time(remote)
    retention = readable_retention(repository)
    entries = repository.exports()
    pins = load_pins(remote)
    with ThreadPoolExecutor(_PARALLEL) as threads:
        packs = list_packs(remote, threads)
        layers = list(threads.map(remote.list, _directories(remote, LAYERS)))
    objects = [*packs, *(entry for each in layers for entry in each), *remote.list(EXPORTS)]
    window = _window(packs, retention, now)
    damage = load_damage(remote)
    data_verified = last(remote, DATA_VERIFICATION)
    return Status(
        url=remote.url,
        id=repository.id,
        retention=retention,
        free=remote.free_space(),
        stored=sum(entry.size for entry in objects),
        packs=len(packs),
        exports=len(entries),
        pinned=len(pins & {entry.id for entry in entries}),
        deleted=sum(export_id_of(entry.name) is not None for entry in remote.list(DELETED)),
        expired=_count_expired(entries, pins, retention, now),
        logical=sum(map(_logical, entries)),
        stored_per_day=_rate(packs, now, window),
        window=window,
        collected=last(remote, COLLECTION),
        verified=_later(last(remote, VERIFICATION), data_verified),
        data_verified=data_verified,
        damaged=len(damage.packs) + len(damage.layers),
        workers=_workers(remote, now),
        now=now,
    )


def readable_retention(repository: Repository) -> Retention | None:
    """Return the settings that count; None, with a warning, if they cannot be read."""
    try:
        return repository.retention
    except FormatError as error:
        log.warning("%s", error)
        return None


def _storage_time(remote: Remote) -> datetime:
    """Return now by the storage node's clock; by this machine's where nothing can be written."""
    path = f".clock-{secrets.token_hex(8)}"
    try:
        remote.write(path, [b"now"], staging=f"{path}-unfinished")
        seconds = remote.stat(path).modified
        remote.remove(path)
    except StorageError:  # no permission, or no room
        seconds = time.time()
    return datetime.fromtimestamp(seconds, timezone.utc)


def _directories(remote: Remote, root: str) -> list[str]:
    return [f"{root}/{entry.name}" for entry in remote.list(root) if entry.is_directory]


def _count_expired(
    entries: Iterable[ExportEntry],
    pins: frozenset[str],
    retention: Retention | None,
    now: datetime,
) -> int | None:
    if retention is None:
        return None
    return sum(
        entry.id not in pins and now - entry.stored >= retention.keeps(entry.keep)
        for entry in entries
    )


def _logical(entry: ExportEntry) -> int:
    """Bytes without holes; of earlier exports with them, if they told that."""
    size = entry.data if entry.data is not None else entry.summary.get("size")
    return size if isinstance(size, int) else 0


def _window(packs: Sequence[Entry], retention: Retention | None, now: datetime) -> timedelta:
    """Return how far to look back: nothing younger than ``min_age`` was removed automatically."""
    oldest = min((pack.modified for pack in packs), default=now.timestamp())
    age = timedelta(seconds=max(0.0, now.timestamp() - oldest))
    return max(min(age, retention.min_age), _SHORTEST) if retention else _SHORTEST


def _rate(packs: Iterable[Entry], now: datetime, window: timedelta) -> int:
    start = (now - window).timestamp()
    recent = sum(pack.size for pack in packs if pack.modified >= start)
    return int(recent * (timedelta(days=1) / window))


def _later(*events: Event | None) -> Event | None:
    return max(filter(None, events), key=lambda event: event.when, default=None)


def _workers(remote: Remote, now: datetime) -> list[Worker]:
    workers = []
    for lease in list_leases(remote):
        holder = read_holder(remote, lease)
        signs = [entry.modified for entry in remote.list(lease_directory(lease))]
        if holder and signs:
            silent = timedelta(seconds=max(0.0, now.timestamp() - max(signs)))
            workers.append(Worker(holder, silent))
    return workers
