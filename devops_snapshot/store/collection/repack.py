"""Repacking: the living part of packs that are mostly dead is written anew.

Chunks are copied into new packs, and each layer concerned gets a new object that says where they
lie now; its id stays. The old objects and packs are then found dead as all others: whoever reads
from them goes on doing so until it ends.
"""

from __future__ import annotations

import itertools
import logging
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.progress import Progress

from ..bounded import map_bounded
from ..dedup.chunk_table import Place
from ..format.layer import Layer, encode_layer, with_own_packs
from ..format.names import LayerId, layer_path, lease_of_pack, pack_path
from ..format.runs import Runs
from ..lease import Lease
from ..reading.chunk_reader import ChunkReader, Wanted
from ..repository import Repository
from .copied_pack import Chunk, CopiedPack
from .mark import Mark, Marker, read_object
from .usage import PackShares, Usage

log = logging.getLogger(__name__)

_MOST_CHUNKS = 4_000_000  # copied at a time, 8 bytes of memory each
_NOWHERE = 0xFFFF_FFFF_FFFF_FFFF


@dataclass(frozen=True)
class Repacked:
    """What was done.

    :param packs: how many were mostly dead
    """

    packs: int = 0
    bytes_written: int = 0


def repack(
    repository: Repository,
    lease: Lease,
    mark: Mark,
    marker: Marker,
    threads: Executor,
    progress: Progress,
) -> Repacked:
    """Write anew what lives of packs of which less than half does.

    :raises StorageError: nothing is lost; what was written is found dead by the next collection
    """
    usage = measure(repository, mark, threads)
    candidates = find_mostly_dead(repository, mark, usage, threads)
    free = repository.remote.free_space()
    if free is not None and sum(candidates.values()) * 2 > free:
        log.warning("%s is too full to repack", repository.remote.url)
        return Repacked()
    if not candidates:
        return Repacked()
    progress.begin("Repacking", sum(candidates.values()))
    moving = _Moving(repository, lease, usage, progress)
    moving.copy(candidates)
    for layer, name in mark.chosen.items():
        if not moving.moved.keys().isdisjoint(marker.packs_of(name)):
            moving.rewrite(layer, name)
    return Repacked(len(moving.moved), moving.bytes_written)


def measure(repository: Repository, mark: Mark, threads: Executor) -> Usage:
    """Return which chunks of all packs are needed."""

    def read(name: str) -> Layer | None:
        try:
            return read_object(repository, name)
        except NotFoundError:  # another collection has moved the layer meanwhile
            return None

    usage = Usage()
    for layer in map_bounded(read, mark.chosen.values(), threads, under_way=4):
        if layer:
            usage.add(layer)
    return usage


def find_mostly_dead(
    repository: Repository, mark: Mark, usage: Usage, threads: Executor
) -> dict[str, int]:
    """Return packs that are worth to be repacked, with the bytes of each that live.

    Packs of those who are still at work are left alone: nobody knows yet what is needed of them.
    So are those of layers that are not whole: more is needed of them than the chosen object tells.
    """
    shares = PackShares(repository.remote, repository.cache, mark.packs, threads)
    settled = [
        pack
        for pack in usage.packs
        if lease_of_pack(pack) not in mark.leases and pack not in mark.immovable
    ]
    shares.learn(settled)
    mostly_dead = [pack for pack in settled if 2 * usage.used(pack) < shares.chunks(pack)]
    mostly_dead.sort(key=lambda pack: usage.used(pack) / shares.chunks(pack))
    chosen, room = {}, _MOST_CHUNKS
    for pack in mostly_dead:
        room -= shares.chunks(pack)
        if room < 0:
            break
        chosen[pack] = shares.stored(pack, usage.used(pack))
    return chosen


class _Moving:
    """Copies chunks and remembers where they went.

    :ivar moved: for each pack that was copied the new place of each chunk
    """

    def __init__(
        self, repository: Repository, lease: Lease, usage: Usage, progress: Progress
    ) -> None:
        self.moved: dict[str, array[int]] = {}
        self.bytes_written = 0
        self._repository = repository
        self._lease = lease
        self._usage = usage
        self._progress = progress
        self._packs: list[str] = []  # the new ones
        self._names = (f"{lease.id}-{number}" for number in itertools.count())

    def copy(self, candidates: Mapping[str, int]) -> None:
        """Copy what lives of some packs; what is damaged stays where it is."""
        by_kind: dict[int, list[str]] = defaultdict(list)
        for pack in sorted(candidates):
            try:
                by_kind[self._repository.indexes.load(pack).kind].append(pack)
            except FormatError as error:
                log.warning("%s; it is not repacked", error.message)
        for kind, packs in by_kind.items():
            chunks = self._read_all(packs, candidates)
            for first in chunks:
                self._write_pack(kind, itertools.chain([first], chunks))

    def rewrite(self, layer_id: LayerId, name: str) -> None:
        """Write a new object for a layer that says where its chunks lie now."""
        try:
            layer = read_object(self._repository, name)
        except NotFoundError:  # no export needs it any more
            return
        tables = [self.moved.get(pack) for pack in layer.packs]
        moved = replace(
            layer,
            packs=[*layer.packs, *self._packs],
            chunk_runs=_moved(layer.chunk_runs, tables),
            segment_runs=_moved(layer.segment_runs, tables),
        )
        path = layer_path(layer_id, self._lease.id)
        self.bytes_written += self._lease.write(path, [encode_layer(with_own_packs(moved))])

    def _read_all(self, packs: Sequence[str], sizes: Mapping[str, int]) -> Iterator[Chunk]:
        reader = ChunkReader(self._repository.remote, self._repository.indexes)
        for pack in packs:
            index = self._repository.indexes.get(pack)
            self.moved[pack] = array("Q", [_NOWHERE]) * len(index)
            wanted = [
                Wanted(number, index.digest(number), number)
                for number in range(len(index))
                if self._usage.is_used(pack, number)
            ]
            try:
                for span in reader.plan(pack, wanted):
                    for item, data in reader.fetch(span):
                        yield Chunk(pack, item.chunk, item.digest, bytes(data))
            except FormatError as error:
                log.warning("%s; what remains of it is not repacked", error.message)
            self._progress.advance(sizes[pack])

    def _write_pack(self, kind: int, chunks: Iterator[Chunk]) -> None:
        """Fill one pack; takes no more chunks than fit."""
        pack = CopiedPack(kind)
        name, number = next(self._names), len(self._packs)
        self._packs.append(name)

        def placed() -> Iterator[Chunk]:
            for chunk in chunks:
                self.moved[chunk.source][chunk.number] = number << 32 | len(pack)
                yield chunk

        self.bytes_written += self._lease.write(pack_path(name), pack.blocks(name, placed()))


def _moved(runs: Runs, tables: Sequence[array[int] | None]) -> Runs:
    """Return runs with the places of chunks after they were copied.

    :param tables: for each pack of the layer the new places, or None if it stays; the new packs
        follow the old ones in the layer's table
    """
    result = Runs()
    for run in runs:
        table = tables[run.pack]
        for step in range(run.length):
            place = Place(run.pack, run.chunk + step)
            if table is not None and table[place.chunk] != _NOWHERE:
                new = table[place.chunk]
                place = Place(len(tables) + (new >> 32), new & 0xFFFF_FFFF)
            result.append(run.first + step, place)
    return result
