"""Pruning: deleting exports whose time is over, or that do not fit.

Ages are counted from publication to now by one clock, that of the storage node: both ends are
modification times of objects written there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from devops_snapshot.errors import FormatError, NotFoundError, StorageError

from ..bounded import map_bounded
from ..collection.inventory import list_layer_objects, list_pack_sizes
from ..collection.mark import read_object
from ..collection.roots import RootReader
from ..collection.usage import PackShares, Usage
from ..format.envelope import ExportEntry
from ..format.layer import Layer
from ..format.names import LayerId
from ..lease import hold_lease
from ..leases import Sleep, exports_in_use, read_holders
from ..repository import Repository
from .deletion import move_to_deleted
from .moves import move_exports, moved_by_others
from .pins import is_pinned, load_pins

_PARALLEL = 4
_CLOCKS_DIFFER = timedelta(days=1)


@dataclass(frozen=True)
class Expired:
    """An export that is to go.

    :param age: since publication, by the storage node's clock
    :param keep: its time, which is over; None: there is no room for it
    """

    entry: ExportEntry
    age: timedelta
    keep: timedelta | None


@dataclass(frozen=True)
class PrunePlan:
    """What pruning does.

    :param expired: oldest first
    :param kept: oldest first
    :param freed: bytes that come free by the collection after it
    :param excess: bytes by which what is kept takes more than was allowed: it is protected
    """

    expired: Sequence[Expired]
    kept: Sequence[ExportEntry]
    freed: int
    excess: int = 0


def plan_prune(
    repository: Repository, *, max_size: int | None = None, force: bool = False
) -> PrunePlan:
    """Find what is expired, and with ``max_size`` what does not fit; nothing is changed.

    :param max_size: bytes that exports may take; the newest that fit are kept
    :param force: even if the storage node's clock seems to be wrong
    :raises StorageError: it seems to be wrong
    """
    now = _storage_time(repository, force=force)
    entries = sorted(repository.exports(), key=_oldest_first)
    candidates = _Candidates.of(repository, entries, now)
    if max_size is None and not candidates.expired:
        return PrunePlan((), entries, freed=0)
    with ThreadPoolExecutor(_PARALLEL) as threads:
        return _plan(candidates, _Room(repository, threads), max_size, now)


def _plan(candidates: _Candidates, room: _Room, max_size: int | None, now: datetime) -> PrunePlan:
    kept = list(candidates.protected)
    crowded_out: list[Expired] = []
    kept_bytes = room.add_all(kept)
    for entry in reversed(candidates.others):
        taken = room.add_all([entry])
        if max_size is None or (taken <= max_size and not crowded_out):
            kept.append(entry)
            kept_bytes = taken
        else:
            crowded_out.append(Expired(entry, now - entry.stored, keep=None))
    expired = [*candidates.expired, *crowded_out]
    return PrunePlan(
        expired=sorted(expired, key=lambda item: _oldest_first(item.entry)),
        kept=sorted(kept, key=_oldest_first),
        freed=room.add_all(item.entry for item in expired) - kept_bytes,
        excess=max(0, kept_bytes - max_size) if max_size is not None else 0,
    )


def prune(repository: Repository, plan: PrunePlan, *, sleep: Sleep = time.sleep) -> list[str]:
    """Delete what a plan says, unless it was pinned or is imported by now; return the ids.

    Until a collection has run, it can be undeleted.

    :raises ConflictError: somebody else prunes, too
    """
    repository.require_feature("write", "changed")
    if not plan.expired:
        return []
    deleted = []
    remote = repository.remote
    with move_exports(remote, "prune", sleep=sleep) as lease:
        holders = read_holders(remote)
        in_use = exports_in_use(holders) | moved_by_others(holders)
        for export_id in (item.entry.id for item in plan.expired):
            if export_id in in_use or is_pinned(remote, export_id):
                continue
            lease.require_alive()
            with suppress(NotFoundError):  # deleted meanwhile
                if move_to_deleted(repository, export_id):
                    deleted.append(export_id)
    return deleted


def _storage_time(repository: Repository, *, force: bool) -> datetime:
    """Return now by the storage node's clock.

    :raises StorageError: it differs much from this machine's
    """
    with hold_lease(repository.remote, {"purpose": "prune"}) as lease:
        now = datetime.fromtimestamp(lease.storage_time(), timezone.utc)
    here = datetime.fromtimestamp(time.time(), timezone.utc)
    if abs(now - here) > _CLOCKS_DIFFER and not force:
        raise StorageError(
            f"The clock of {repository.remote.url} says {now:%Y-%m-%d %H:%M} UTC, "
            f"that of this machine {here:%Y-%m-%d %H:%M} UTC",
            hint="Set the one that is wrong; --force trusts that of the storage node",
        )
    return now


@dataclass(frozen=True)
class _Candidates:
    """Exports, each sequence oldest first.

    :param expired: their time is over
    :param protected: pinned, in use, or younger than ``min_age``
    :param others: kept for now, but may have to go if room is scarce
    """

    expired: Sequence[Expired]
    protected: Sequence[ExportEntry]
    others: Sequence[ExportEntry]

    @classmethod
    def of(
        cls, repository: Repository, entries: Sequence[ExportEntry], now: datetime
    ) -> _Candidates:
        retention = repository.retention
        in_use = exports_in_use(read_holders(repository.remote))
        untouchable = load_pins(repository.remote) | in_use
        expired, protected, others = [], [], []
        for entry in entries:
            age = now - entry.stored
            keep = retention.keeps(entry.keep)
            if entry.id in untouchable or age < retention.min_age:
                protected.append(entry)
            elif age >= keep:
                expired.append(Expired(entry, age, keep))
            else:
                others.append(entry)
        return cls(expired, protected, others)


def _oldest_first(entry: ExportEntry) -> tuple[datetime, str]:
    return entry.stored, entry.id


class _Room:
    """What some exports take together; what they share counts once."""

    def __init__(self, repository: Repository, threads: Executor) -> None:
        remote, cache = repository.remote, repository.cache
        self._repository = repository
        self._threads = threads
        self._roots = RootReader(remote, cache, threads)
        self._objects = list_layer_objects(remote, threads)
        self._shares = PackShares(remote, cache, list_pack_sizes(remote, threads), threads)
        self._usage = Usage()
        self._stored: dict[str, int] = {}  # bytes used of each pack
        self._taken = 0
        self._counted: set[LayerId] = set()

    def add_all(self, entries: Iterable[ExportEntry]) -> int:
        """Count exports in; return the bytes that all take by now."""
        for layer in map_bounded(self._first_readable, self._uncounted(entries), self._threads):
            if layer:
                self._add(layer)
        return self._taken

    def _uncounted(self, entries: Iterable[ExportEntry]) -> Iterator[LayerId]:
        """Yield the layers of exports, each only once."""
        for entry in entries:
            with suppress(NotFoundError):  # deleted meanwhile
                for layer_id in self._roots.layers(entry.id):
                    if layer_id not in self._counted:
                        self._counted.add(layer_id)
                        yield layer_id

    def _add(self, layer: Layer) -> None:
        self._usage.add(layer)
        self._shares.learn(layer.packs)
        for pack in layer.packs:
            stored = self._shares.stored(pack, self._usage.used(pack))
            self._taken += stored - self._stored.get(pack, 0)
            self._stored[pack] = stored

    def _first_readable(self, layer_id: LayerId) -> Layer | None:
        """Return an object of a layer; what verification has to tell is no matter here."""
        for found in self._objects.of(layer_id):
            with suppress(FormatError, NotFoundError):
                return read_object(self._repository, found.name)
        return None
