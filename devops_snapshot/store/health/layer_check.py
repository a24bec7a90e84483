"""Checking a layer: its segments, and that every chunk lies where the layer says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..format.hashing import DIGEST_SIZE, HOLE, SEGMENT_CHUNKS
from ..format.layer import Layer
from ..format.pack import PackIndex
from ..format.runs import Run
from ..reading.chunk_reader import Wanted
from .fault import LAYER, Fault
from .pack_check import PackCheck

_WINDOW = 64  # segments in memory, 8 KiB each


def want_chunks(layer: Layer, packs: PackCheck) -> None:
    """Note which chunks the layer uses."""
    for runs in (layer.chunk_runs, layer.segment_runs):
        for run in runs:
            packs.want(layer.packs[run.pack], _chunks(run))


def faults_of_layer(layer: Layer, path: str, packs: PackCheck) -> list[Fault]:
    """Return all that keeps the layer from being read, each fault once.

    :param path: of the layer object, which was decoded
    """
    return list(dict.fromkeys(_LayerCheck(layer, path, packs).faults()))


class _LayerCheck:
    def __init__(self, layer: Layer, path: str, packs: PackCheck) -> None:
        self._layer = layer
        self._path = path
        self._packs = packs

    def faults(self) -> Iterator[Fault]:
        segments = -(-self._layer.chunks // SEGMENT_CHUNKS)
        for first in range(0, segments, _WINDOW):
            yield from self._faults_of_segments(range(first, min(first + _WINDOW, segments)))
        yield from self._faults_of_packs()  # last: reading segments may have found some

    def _faults_of_packs(self) -> Iterator[Fault]:
        for pack in self._layer.packs:
            found = self._packs.index(pack)
            if isinstance(found, Fault):
                yield found
        for runs in (self._layer.chunk_runs, self._layer.segment_runs):
            for run in runs:
                yield from self._packs.faults_among(self._layer.packs[run.pack], _chunks(run))

    def _faults_of_segments(self, numbers: range) -> Iterator[Fault]:
        wanted: dict[int, list[Wanted]] = defaultdict(list)
        for number in numbers:
            digest = self._layer.segment(number)
            run = next(self._layer.segment_runs.within(number, number + 1), None)
            if (run is None) != (digest == HOLE):
                yield self._wrong(f"segment {number} has no place or needs none")
            elif run:
                fault = self._misplaced(run, digest)
                if fault:
                    yield fault
                else:
                    wanted[run.pack].append(Wanted(run.chunk, digest, number))
        for pack, items in wanted.items():
            yield from self._faults_of_chunks(self._layer.packs[pack], items)
        for number in numbers:
            if self._layer.segment(number) == HOLE:
                yield from self._faults_of_places(number, HOLE * self._chunks_in(number))

    def _faults_of_chunks(self, pack: str, segments: list[Wanted]) -> Iterator[Fault]:
        """Of the chunks whose digests are in some segments that lie in one pack."""
        index = self._packs.index(pack)
        if isinstance(index, Fault):
            yield index
            return
        for item, data in self._packs.read(index, segments):
            if len(data) != self._chunks_in(item.number) * DIGEST_SIZE:
                yield self._wrong(f"segment {item.number} has the wrong size")
            else:
                yield from self._faults_of_places(item.number, bytes(data))

    def _faults_of_places(self, segment: int, digests: bytes) -> Iterator[Fault]:
        """Compare the digests in a segment with those in the indexes of the packs."""
        first = end = segment * SEGMENT_CHUNKS
        stop = first + self._chunks_in(segment)
        for run in self._layer.chunk_runs.within(first, stop):
            yield from self._faults_of_holes(digests, first, range(end, run.first))
            end = run.first + run.length
            part = digests[(run.first - first) * DIGEST_SIZE : (end - first) * DIGEST_SIZE]
            fault = self._misplaced(run, part)
            if fault:
                yield fault
        yield from self._faults_of_holes(digests, first, range(end, stop))

    def _faults_of_holes(self, digests: bytes, first: int, chunks: range) -> Iterator[Fault]:
        """Chunks without a place must be holes."""
        part = digests[(chunks.start - first) * DIGEST_SIZE : (chunks.stop - first) * DIGEST_SIZE]
        if part.count(0) != len(part):
            yield self._wrong(f"it does not say where some of chunks {_span(chunks)} lie")

    def _misplaced(self, run: Run, digests: bytes) -> Fault | None:
        """Return what is wrong if a pack has not these digests at that place."""
        pack = self._layer.packs[run.pack]
        index = self._packs.index(pack)
        if isinstance(index, Fault):
            return index
        if _digests(index, _chunks(run)) == digests:
            return None
        return self._wrong(f"pack {pack} lacks chunks that it names")

    def _chunks_in(self, segment: int) -> int:
        return min(SEGMENT_CHUNKS, self._layer.chunks - segment * SEGMENT_CHUNKS)

    def _wrong(self, what: str) -> Fault:
        return Fault(LAYER, self._path, what)


def _chunks(run: Run) -> range:
    """The chunks of its pack that a run stands for."""
    return range(run.chunk, run.chunk + run.length)


def _digests(index: PackIndex, chunks: range) -> bytes:
    return index.digests[chunks.start * DIGEST_SIZE : chunks.stop * DIGEST_SIZE]


def _span(chunks: range) -> str:
    return f"{chunks.start} to {chunks.stop - 1}"
