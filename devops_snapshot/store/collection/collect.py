"""Collection: removing what no export needs, while others go on exporting and importing.

What is found dead is condemned first: from then on nobody begins to rely on it. It is removed when
all who may have begun before have ended, and a new mark still finds it dead. docs/repository-format
tells the rules and the races that they answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from devops_snapshot.errors import ConflictError, FormatError, NotFoundError
from devops_snapshot.progress import Progress, Quiet

from ..bounded import map_bounded
from ..dedup.sample_merge import merge_samples
from ..exports.moves import move_exports, moved_by_others
from ..exports.pins import load_pins
from ..exports.summaries import merge_summaries
from ..format.jsontypes import JSON
from ..format.names import (
    DELETED,
    EXPORTS,
    deleted_path,
    export_id_of,
    layer_object_path,
    pack_path,
)
from ..health.history import COLLECTION, record
from ..lease import BEAT_SECONDS, Lease, hold_lease
from ..leases import (
    Holder,
    Sleep,
    exports_in_use,
    list_leases,
    read_holder,
    read_holders,
    remove_revoked,
    require_no_other,
    revoke_dead,
)
from ..repository import Repository
from .condemned import (
    Objects,
    condemn,
    drop_epoch,
    list_epochs,
    load_objects,
    load_witnesses,
    write_witnesses,
)
from .inventory import list_pack_sizes
from .mark import Mark, Marker
from .repack import Repacked, find_mostly_dead, measure, repack

log = logging.getLogger(__name__)

_PARALLEL = 4  # operations on the storage node at the same time


@dataclass(frozen=True)
class CollectionReport:
    """What a collection did, or with ``dry_run`` would do.

    :param discarded: ids of deleted exports that cannot be undeleted any more
    :param packs: how many were removed; likewise ``layers``, which are layer objects
    :param freed: bytes of these
    :param repacked: packs of which the living part was written anew
    :param copied: bytes written for that
    :param waiting: bytes that are condemned, and come free when ``waiting_for`` have ended
    :param revoked: leases whose holders were dead
    """

    discarded: Sequence[str] = ()
    packs: int = 0
    layers: int = 0
    freed: int = 0
    repacked: int = 0
    copied: int = 0
    waiting: int = 0
    waiting_for: Sequence[Holder] = ()
    revoked: Sequence[str] = ()


def collect(
    repository: Repository,
    *,
    dry_run: bool = False,
    wait: bool = False,
    progress: Progress | None = None,
    sleep: Sleep = time.sleep,
) -> CollectionReport:
    """Remove what no export needs.

    :param dry_run: only say what could be removed, if nobody else were at work
    :param wait: for those who may rely on what is condemned, instead of leaving it to the next time
    :raises ConflictError: another collection is running
    :raises FormatError: something is damaged, or needs a newer release, so that it cannot be known
        what is needed; exports are named, nothing was removed
    """
    repository.require_feature("collect", "collected")
    repository.require_feature("write", "collected")
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="collect") as threads:
        if dry_run:
            return _foresee(repository, threads)
        return _collect(repository, threads, wait, progress or Quiet(), sleep)


def _collect(
    repository: Repository, threads: Executor, wait: bool, progress: Progress, sleep: Sleep
) -> CollectionReport:
    with hold_lease(repository.remote, {"purpose": "collect"}) as lease:
        revoked = revoke_dead(repository.remote, lease, sleep=sleep)
        require_no_other(repository.remote, lease, "collect")
        remove_revoked(repository.remote)
        collection = _Collection(repository, lease, threads, progress, revoked, sleep)
        collection.run()
        told: list[Holder] = []
        while wait and collection.is_waiting():
            if (others := collection.waiting_for()) != told:
                log.info("Waiting for %s", "; ".join(map(str, others)) or "leases to end")
                told = others
            sleep(BEAT_SECONDS)
            collection.revoked += revoke_dead(repository.remote, lease, sleep=sleep)
            collection.finish_epochs()
        return collection.report()


def _foresee(repository: Repository, threads: Executor) -> CollectionReport:
    discarded = _discardable(repository, own=frozenset())
    mark = Marker(repository, threads).mark(without=discarded)
    dead = mark.dead
    usage = measure(repository, mark, threads)
    mostly_dead = find_mostly_dead(repository, mark, usage, threads)
    return CollectionReport(
        discarded=discarded,
        packs=len(dead.packs) + len(mostly_dead),
        layers=len(dead.layers),
        freed=mark.size_of(dead) + sum(mark.packs[pack] for pack in mostly_dead),
        repacked=len(mostly_dead),
        copied=sum(mostly_dead.values()),
    )


@dataclass
class _Collection:
    """A collection under way."""

    repository: Repository
    lease: Lease
    threads: Executor
    progress: Progress
    revoked: list[str]
    sleep: Sleep = time.sleep
    discarded: list[str] = field(default_factory=list)
    packs: int = 0
    layers: int = 0
    freed: int = 0
    repacked: Repacked = field(default_factory=Repacked)

    def __post_init__(self) -> None:
        self._remote = self.repository.remote
        self._marker = Marker(self.repository, self.threads)
        self._epochs = 0

    def run(self) -> None:
        self.finish_epochs()
        self._discard_deleted()
        self._condemn(self._mark())
        self.repacked = repack(
            self.repository, self.lease, self._mark(), self._marker, self.threads, self.progress
        )
        if self.repacked.packs:
            self._condemn(self._mark())
        self._tidy()

    def waiting_for(self) -> list[Holder]:
        """Who may rely on what is condemned."""
        return list(filter(None, (read_holder(self._remote, one) for one in self._awaited())))

    def is_waiting(self) -> bool:
        return bool(list_epochs(self._remote))

    def finish_epochs(self) -> None:
        """Remove what was condemned, where all have ended who may rely on it."""
        self._drop_damaged_epochs()
        epochs = {epoch: self._witnesses(epoch) for epoch in list_epochs(self._remote)}
        living = set(list_leases(self._remote))
        ended = [epoch for epoch, witnesses in epochs.items() if living.isdisjoint(witnesses)]
        if not ended:
            return
        mark = self._mark()
        dead = mark.dead
        for epoch in ended:
            with suppress(NotFoundError):  # cut short while it was dropped
                self._remove(load_objects(self._remote, epoch) & dead, mark)
            drop_epoch(self._remote, epoch)

    def report(self) -> CollectionReport:
        report = CollectionReport(
            discarded=self.discarded,
            packs=self.packs,
            layers=self.layers,
            freed=self.freed,
            repacked=self.repacked.packs,
            copied=self.repacked.bytes_written,
            waiting=self._waiting_bytes(),
            waiting_for=self.waiting_for(),
            revoked=self.revoked,
        )
        record(self._remote, self.lease, COLLECTION, _facts(report))
        return report

    def _mark(self) -> Mark:
        return self._marker.mark(prefer=self.lease.id)

    def _condemn(self, mark: Mark) -> None:
        """Let everybody know what is dead, and remove it at once if nobody else is at work."""
        known = Objects()
        for epoch in list_epochs(self._remote):
            known |= load_objects(self._remote, epoch)
        dead = mark.dead
        dead = Objects(dead.packs - known.packs, dead.layers - known.layers)
        if not dead:
            return
        for part in dead.parts():
            epoch = f"{self.lease.id}-{self._epochs}"
            self._epochs += 1
            condemn(self.lease, epoch, part)
            self._witnesses(epoch)
        self.finish_epochs()

    def _witnesses(self, epoch: str) -> frozenset[str]:
        """Return who may rely on what an epoch condemns: all who were at work after that."""
        witnesses = load_witnesses(self._remote, epoch)
        if witnesses is None:
            witnesses = frozenset(list_leases(self._remote)) - {self.lease.id}
            write_witnesses(self.lease, epoch, sorted(witnesses))
        return witnesses

    def _drop_damaged_epochs(self) -> None:
        """What such an epoch condemned will be found dead again."""
        for epoch in list_epochs(self._remote):
            try:
                load_objects(self._remote, epoch)
            except NotFoundError:  # cut short before it was written, or while it was dropped
                drop_epoch(self._remote, epoch)
            except FormatError as error:
                log.warning("%s; it is dropped", error.message)
                drop_epoch(self._remote, epoch)

    def _discard_deleted(self) -> None:
        """Remove deleted exports for good, which is a move as deleting and undeleting are."""
        try:
            with move_exports(self._remote, "discard", sleep=self.sleep) as lease:
                for export_id in _discardable(self.repository, own={self.lease.id, lease.id}):
                    with suppress(NotFoundError):  # a release that does not know moves was here
                        lease.discard(deleted_path(export_id))
                        self.discarded.append(export_id)
        except ConflictError as error:
            log.warning("Deleted exports stay: %s", error.message)

    def _remove(self, dead: Objects, mark: Mark) -> None:
        """Layer objects go first, so that there is none whose packs are gone."""
        self.progress.begin("Removing", mark.size_of(dead))
        sizes = {found.name: found.size for found in mark.objects if found.name in dead.layers}
        self.layers += self._discard({layer_object_path(name): sizes[name] for name in sizes})
        self.packs += self._discard({pack_path(pack): mark.packs[pack] for pack in dead.packs})

    def _discard(self, sizes: Mapping[str, int]) -> int:
        """Remove objects, given with their sizes; return how many there were."""

        def discard(path: str) -> str | None:
            try:
                self.lease.discard(path)
            except NotFoundError:  # an earlier collection was cut short
                return None
            return path

        removed = 0
        for path in filter(None, map_bounded(discard, sorted(sizes), self.threads)):
            removed += 1
            self.freed += sizes[path]
            self.progress.advance(sizes[path])
        return removed

    def _tidy(self) -> None:
        """Merge what tells of packs and exports in many small objects."""
        packs = list_pack_sizes(self._remote, self.threads)
        merge_samples(self.lease, self._remote, self.repository.indexes, packs=packs.keys())
        self.repository.catalogue.write_summary_if_many(self.lease)
        merge_summaries(self.lease, self._remote)

    def _awaited(self) -> list[str]:
        """Return the leases for which epochs wait."""
        witnesses = [load_witnesses(self._remote, epoch) for epoch in list_epochs(self._remote)]
        awaited = frozenset[str]().union(*filter(None, witnesses))
        return sorted(awaited.intersection(list_leases(self._remote)))

    def _waiting_bytes(self) -> int:
        found = Objects()
        for epoch in list_epochs(self._remote):
            found |= load_objects(self._remote, epoch)
        if not found:
            return 0
        packs = list_pack_sizes(self._remote, self.threads)
        return sum(packs.get(pack, 0) for pack in found.packs)


def _discardable(repository: Repository, *, own: Set[str]) -> list[str]:
    """Return the deleted exports that nobody uses or is about to undelete.

    Deleted exports are listed before leases: whoever takes a lease later does not find them among
    the exports any more. Pins come last: who pins an export looks for it afterwards.

    One that exists as well stays, for a rename that was cut short may go on and take the other name
    away. Then it was deleted after all, and can be undeleted.
    """
    remote = repository.remote
    names = {entry.name for entry in remote.list(DELETED)}
    names -= {entry.name for entry in remote.list(EXPORTS)}
    deleted = list(filter(None, map(export_id_of, names)))
    holders = [holder for holder in read_holders(remote) if holder.lease not in own]
    if not all(holder.is_known for holder in holders):
        log.warning("Deleted exports stay: it is not known what each lease is for")
        return []
    kept = exports_in_use(holders) | moved_by_others(holders) | load_pins(remote)
    return sorted(export_id for export_id in deleted if export_id not in kept)


def _facts(report: CollectionReport) -> dict[str, JSON]:
    """Return what storage-status may tell of a collection later."""
    return {
        "discarded": len(report.discarded),
        "packs": report.packs,
        "layers": report.layers,
        "freed": report.freed,
        "repacked": report.repacked,
        "copied": report.copied,
        "waiting": report.waiting,
        "waiting_for": [str(holder) for holder in report.waiting_for],
        "revoked": len(report.revoked),
    }
