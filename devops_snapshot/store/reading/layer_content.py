"""The chunks of a layer, read at any place without fetching the whole of it."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence

from devops_snapshot.errors import FormatError

from ..format.hashing import CHUNK_SIZE, DIGEST_SIZE, HOLE, SEGMENT_CHUNKS, Data, digest
from ..format.layer import Layer
from ..format.runs import Runs
from ..format.sealed import damaged
from ..writing.layer_source import Extent
from .at_hand import AtHand
from .chunk_reader import ChunkReader, Span, Wanted

log = logging.getLogger(__name__)

_KEPT = 64  # segments in memory, 8 KiB each

_Places = Mapping[str, Sequence[Wanted]]  # by pack
_RunsOf = Callable[[Layer], Runs]


class LayerContent:
    """What the chunks of a layer are together; may be used by several threads.

    :param layers: objects of one layer, which differ in where the chunks lie; what cannot be read
        where the first one says is looked for where the others say
    """

    def __init__(self, layers: Sequence[Layer], chunks: ChunkReader) -> None:
        self._layers = layers
        self._layer = layers[0]
        self._chunks = chunks
        self._at_hand: list[AtHand] = []
        self._segments: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes_received = 0  # of frames, compressed, from the repository

    @property
    def name(self) -> str:
        """For messages."""
        return f"Layer {self._layer.id}"

    @property
    def size(self) -> int:
        return self._layer.size

    @property
    def chunks(self) -> int:
        return self._layer.chunks

    def look_in(self, source: AtHand) -> None:
        """Look for chunks there before they are fetched; in several, one after the other."""
        self._at_hand.append(source)

    def extents(self) -> Iterator[Extent]:
        """Yield where data is, to the chunk; all else is zeros."""
        start = end = 0
        for run in self._layer.chunk_runs:
            if run.first * CHUNK_SIZE != end:
                if end > start:
                    yield Extent(start, end - start)
                start = run.first * CHUNK_SIZE
            end = (run.first + run.length) * CHUNK_SIZE
        if end > start:
            yield Extent(start, min(end, self.size) - start)

    def pread(self, offset: int, length: int, *, keep: bool = False) -> bytes:
        """Return ``length`` bytes from ``offset``, fewer only at the end.

        :param keep: they will be read again
        :raises FormatError: the repository is damaged there
        """
        length = max(0, min(length, self.size - offset))
        first = offset // CHUNK_SIZE
        stop = -(-(offset + length) // CHUNK_SIZE)
        buffer = bytearray((stop - first) * CHUNK_SIZE)
        for span in self.plan([range(first, stop)]):
            for at, data in self.fetch(span, keep=keep):
                start = at - first * CHUNK_SIZE
                buffer[start : start + len(data)] = data
        start = offset - first * CHUNK_SIZE
        return bytes(buffer[start : start + length])

    def expect(self, parts: Iterable[range]) -> None:
        """Tell which chunks will be planned together; parts as in :meth:`plan`.

        :raises FormatError: a pack is damaged or missing
        """
        wanted: dict[str, list[range]] = defaultdict(list)
        for part in parts:
            for run in self._layer.chunk_runs.within(part.start, part.stop):
                wanted[self._layer.packs[run.pack]].append(range(run.chunk, run.chunk + run.length))
        self._chunks.expect(wanted)

    def plan(self, parts: Iterable[range]) -> Iterator[Span]:
        """Yield the requests for chunks, pack by pack.

        :param parts: numbers of chunks; what lies beyond the end is left out
        """
        wanted: dict[str, list[Wanted]] = defaultdict(list)
        for part in parts:
            digests = self.digests(part.start, min(part.stop, self._layer.chunks))
            for run in self._layer.chunk_runs.within(part.start, part.stop):
                for step in range(run.length):
                    number = run.first + step
                    item = Wanted(run.chunk + step, digests.pop(number, HOLE), number)
                    wanted[self._layer.packs[run.pack]].append(item)
            if digests:
                raise damaged(self.name, f"chunk {min(digests)} has no place")
        yield from self._spans(wanted, _chunk_runs)

    def fetch(self, span: Span, *, keep: bool = False) -> Iterator[tuple[int, Data]]:
        """Yield (offset, bytes) for the chunks of a span.

        :param keep: they will be asked for again, without their having been expected
        """
        for item, data in self._find(span, keep=keep):
            offset = item.number * CHUNK_SIZE
            if len(data) != min(CHUNK_SIZE, self.size - offset):
                raise damaged(self.name, f"chunk {item.number} has the wrong size")
            yield offset, data

    def all_digests(self) -> Iterator[dict[int, bytes]]:
        """Yield the digests of all chunks that are not holes, some at a time, ascending.

        :raises FormatError: the repository is damaged
        """
        for offset, length in self.extents():
            stop = -(-(offset + length) // CHUNK_SIZE)
            for first in range(offset // CHUNK_SIZE, stop, SEGMENT_CHUNKS):
                yield self.digests(first, min(first + SEGMENT_CHUNKS, stop))

    def digests(self, first: int, stop: int) -> dict[int, bytes]:
        """Return the digests of those chunks that are not holes.

        :raises FormatError: the repository is damaged there
        """
        found = {}
        segments = range(first // SEGMENT_CHUNKS, -(-stop // SEGMENT_CHUNKS))
        for segment, data in self._load_segments(segments).items():
            start = segment * SEGMENT_CHUNKS
            for number in range(max(first, start), min(stop, start + len(data) // DIGEST_SIZE)):
                at = (number - start) * DIGEST_SIZE
                found[number] = data[at : at + DIGEST_SIZE]
        return {number: key for number, key in found.items() if key != HOLE}

    def _find(self, span: Span, *, keep: bool) -> Iterator[tuple[Wanted, Data]]:
        """Yield what is at hand of a span, and then the rest from the repository."""
        lacking: dict[int, Sequence[Wanted]] = {}
        for frame, items in span.frames.items():
            for item in items:
                data = self._look(item)
                if data is not None:
                    yield item, data
                else:
                    lacking[frame] = [*lacking.get(frame, ()), item]
        if lacking:
            yield from self._fetch(Span(span.index, lacking), _chunk_runs, keep=keep)

    def _look(self, item: Wanted) -> Data | None:
        for source in self._at_hand:
            data = source.find(item.number, item.digest)
            if data is not None and digest(data) == item.digest:
                return data
        return None

    def _spans(
        self, wanted: _Places, runs_of: _RunsOf, in_vain: frozenset[str] = frozenset()
    ) -> Iterator[Span]:
        """Yield the requests for chunks or segments, from other packs where one cannot be read.

        :param in_vain: packs in which they were looked for already
        """
        for pack, items in wanted.items():
            try:
                spans = list(self._chunks.plan(pack, items))
            except FormatError as error:
                tried = in_vain | {pack}
                places = self._elsewhere(items, runs_of, tried, error)
                spans = list(self._spans(places, runs_of, tried))
            yield from spans

    def _fetch(
        self,
        span: Span,
        runs_of: _RunsOf,
        in_vain: frozenset[str] = frozenset(),
        *,
        keep: bool,
    ) -> Iterator[tuple[Wanted, Data]]:
        """Yield what a span has; each frame that cannot be read is made up for by other packs."""
        left = {item.number: item for items in span.frames.values() for item in items}
        try:
            for item, data in self._chunks.fetch(span, keep=keep, received=self._count):
                del left[item.number]
                yield item, data
        except FormatError as error:
            if len(self._layers) > 1 and len(span.frames) > 1:
                for frame in _frames_of(span, left):
                    yield from self._fetch(frame, runs_of, in_vain, keep=keep)
                return
            tried = in_vain | {span.index.pack}
            places = self._elsewhere(left.values(), runs_of, tried, error)
            for other in self._spans(places, runs_of, tried):
                yield from self._fetch(other, runs_of, tried, keep=keep)

    def _count(self, received: int) -> None:
        with self._lock:
            self.bytes_received += received

    def _elsewhere(
        self,
        items: Iterable[Wanted],
        runs_of: _RunsOf,
        in_vain: frozenset[str],
        error: FormatError,
    ) -> _Places:
        """Return where other objects of the layer say that chunks or segments lie.

        :raises FormatError: the given error: no object knows another pack for one of them
        """
        places: dict[str, list[Wanted]] = defaultdict(list)
        for item in items:
            for layer in self._layers:
                run = next(runs_of(layer).within(item.number, item.number + 1), None)
                if run and layer.packs[run.pack] not in in_vain:
                    places[layer.packs[run.pack]].append(item._replace(chunk=run.chunk))
                    break
            else:
                raise error
        log.warning("%s; read from pack %s instead", error.message, ", ".join(places))
        return places

    def _load_segments(self, numbers: range) -> dict[int, bytes]:
        """Return the segments that are not holes, from memory or the repository."""
        with self._lock:
            loaded = {n: self._segments[n] for n in numbers if n in self._segments}
        lacking = [n for n in numbers if n not in loaded and self._layer.segment(n) != HOLE]
        for span in self._spans(self._segment_places(lacking), _segment_runs):
            for item, data in self._fetch(span, _segment_runs, keep=True):
                segment = bytes(data)
                self._check_segment(item.number, segment)
                loaded[item.number] = segment
        self._remember(loaded)
        return loaded

    def _segment_places(self, numbers: list[int]) -> _Places:
        wanted: dict[str, list[Wanted]] = defaultdict(list)
        for number in numbers:
            run = next(self._layer.segment_runs.within(number, number + 1), None)
            if run is None:
                raise damaged(self.name, f"segment {number} has no place")
            item = Wanted(run.chunk, self._layer.segment(number), number)
            wanted[self._layer.packs[run.pack]].append(item)
        return wanted

    def _check_segment(self, number: int, data: bytes) -> None:
        chunks = min(SEGMENT_CHUNKS, self._layer.chunks - number * SEGMENT_CHUNKS)
        if len(data) != chunks * DIGEST_SIZE:
            raise damaged(self.name, f"segment {number} has the wrong size")

    def _remember(self, segments: dict[int, bytes]) -> None:
        with self._lock:
            for number, data in segments.items():
                self._segments[number] = data
                self._segments.move_to_end(number)
            while len(self._segments) > _KEPT:
                self._segments.popitem(last=False)


def _frames_of(span: Span, left: Container[int]) -> Iterator[Span]:
    """Yield each frame by itself, with those chunks or segments that are left."""
    for number, items in span.frames.items():
        wanted = [item for item in items if item.number in left]
        if wanted:
            yield Span(span.index, {number: wanted})


def _chunk_runs(layer: Layer) -> Runs:
    return layer.chunk_runs


def _segment_runs(layer: Layer) -> Runs:
    return layer.segment_runs
