"""Merging the samples of many exports into few objects."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Set

from devops_snapshot.errors import FormatError
from devops_snapshot.remote import Remote

from ..batches import list_batches, remove_batches
from ..cache import Cache
from ..lease import Lease
from .pack_indexes import PackIndexes
from .samples import SAMPLES, Sampler, SampleTable, load_table

log = logging.getLogger(__name__)

_FULL = 8 << 20  # bytes of an object that is large enough
_SMALL = _FULL // 2  # bytes; what is smaller is merged
MANY = 256  # small objects after which an export merges them


def merge_samples(
    lease: Lease,
    remote: Remote,
    indexes: PackIndexes,
    *,
    packs: Set[str] | None = None,
) -> None:
    """Make few objects of many.

    :param packs: all packs that exist: others are dropped, and those without samples get theirs
    """
    tables = _load(remote, indexes.cache)
    merged = _to_merge(tables, packs)
    told = {pack for name, table in tables.items() if name not in merged for pack in _names(table)}
    names = (f"{lease.id}-{n}" for n in itertools.count() if f"{lease.id}-{n}" not in tables)

    def takes(pack: str) -> bool:
        """Once for each pack."""
        if pack in told or (packs is not None and pack not in packs):
            return False
        told.add(pack)
        return True

    sampler = Sampler()
    for table in merged.values():
        if sampler.size + table.size > _FULL and sampler.packs:
            _write(lease, next(names), sampler)
            sampler = Sampler()
        sampler.add_table(table, takes)
    for pack in sorted((packs or set()) - told):
        if sampler.size > _FULL:
            _write(lease, next(names), sampler)
            sampler = Sampler()
        _sample(sampler, indexes, pack)
    if sampler.packs:
        _write(lease, next(names), sampler)
    remove_batches(remote, SAMPLES, merged)


def merge_if_many(lease: Lease, remote: Remote, indexes: PackIndexes) -> None:
    """Spare other clients many small objects."""
    if sum(entry.size < _SMALL for entry in list_batches(remote, SAMPLES)) >= MANY:
        merge_samples(lease, remote, indexes)


def _load(remote: Remote, cache: Cache) -> Mapping[str, SampleTable]:
    names = [entry.name for entry in list_batches(remote, SAMPLES)]
    tables = ((name, load_table(remote, cache, name)) for name in names)
    return {name: table for name, table in tables if table}


def _to_merge(
    tables: Mapping[str, SampleTable], packs: Set[str] | None
) -> Mapping[str, SampleTable]:
    """Return the objects that are small, or tell mostly of packs that are gone."""
    dying = {name for name, table in tables.items() if packs is not None and _dead(table, packs)}
    small = {name for name, table in tables.items() if table.size < _SMALL}
    if len(small) < 2:  # nothing to merge it with
        small = set()
    return {name: table for name, table in tables.items() if name in small | dying}


def _dead(table: SampleTable, packs: Set[str]) -> bool:
    gone = sum(pack not in packs for pack in _names(table))
    return gone * 2 > table.packs


def _names(table: SampleTable) -> Iterator[str]:
    return map(table.pack, range(table.packs))


def _sample(sampler: Sampler, indexes: PackIndexes, pack: str) -> None:
    try:
        sampler.add(pack, indexes.load(pack).digests)
    except FormatError as error:
        log.debug("No samples: %s", error.message)


def _write(lease: Lease, name: str, sampler: Sampler) -> None:
    lease.write(f"{SAMPLES}/{name}", [sampler.encode()])
