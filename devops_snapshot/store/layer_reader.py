"""Reading a layer at any place, without fetching the whole of it."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator

from .chunk_reader import ChunkReader, Span, Wanted
from .hashing import CHUNK_SIZE, DIGEST_SIZE, HOLE, SEGMENT_CHUNKS
from .layer import Layer
from .layer_source import Extent
from .sealed import damaged

_KEPT = 64  # segments in memory, 8 KiB each


class LayerReader:
    """A layer as a random-access file of :attr:`size` bytes; a :class:`LayerSource` too."""

    def __init__(self, layer: Layer, chunks: ChunkReader) -> None:
        self._layer = layer
        self._chunks = chunks
        self._segments: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        return self._layer.size

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

    def pread(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``, fewer only at the end of the layer.

        :raises FormatError: the repository is damaged there
        """
        length = max(0, min(length, self.size - offset))
        first = offset // CHUNK_SIZE
        stop = -(-(offset + length) // CHUNK_SIZE)
        buffer = bytearray((stop - first) * CHUNK_SIZE)
        for span in self.plan(first, stop):
            for at, data in self.fetch(span):
                start = at - first * CHUNK_SIZE
                buffer[start : start + len(data)] = data
        start = offset - first * CHUNK_SIZE
        return bytes(buffer[start : start + length])

    def plan(self, first: int, stop: int) -> Iterator[Span]:
        """Yield the requests for chunks ``first`` up to, not including, ``stop``, pack by pack."""
        digests = self._digests(first, min(stop, self._layer.chunks))
        wanted: dict[int, list[Wanted]] = defaultdict(list)
        for run in self._layer.chunk_runs.within(first, stop):
            for step in range(run.length):
                number = run.first + step
                item = Wanted(run.chunk + step, digests.pop(number, HOLE), number)
                wanted[run.pack].append(item)
        if digests:
            raise damaged(f"Layer {self._layer.id}", f"chunk {min(digests)} has no place")
        for pack, items in wanted.items():
            yield from self._chunks.plan(self._layer.packs[pack], items)

    def fetch(self, span: Span) -> Iterator[tuple[int, memoryview]]:
        """Yield (offset in the layer, bytes) for the chunks of a span."""
        for item, data in self._chunks.fetch(span):
            offset = item.number * CHUNK_SIZE
            if len(data) != min(CHUNK_SIZE, self.size - offset):
                raise damaged(f"Layer {self._layer.id}", f"chunk {item.number} has the wrong size")
            yield offset, data

    def _digests(self, first: int, stop: int) -> dict[int, bytes]:
        """Return the digests of those chunks that are not holes."""
        found = {}
        segments = range(first // SEGMENT_CHUNKS, -(-stop // SEGMENT_CHUNKS))
        for segment, data in self._load_segments(segments).items():
            start = segment * SEGMENT_CHUNKS
            for number in range(max(first, start), min(stop, start + len(data) // DIGEST_SIZE)):
                at = (number - start) * DIGEST_SIZE
                found[number] = data[at : at + DIGEST_SIZE]
        return {number: key for number, key in found.items() if key != HOLE}

    def _load_segments(self, numbers: range) -> dict[int, bytes]:
        """Return the segments that are not holes, from memory or the repository."""
        with self._lock:
            loaded = {n: self._segments[n] for n in numbers if n in self._segments}
        lacking = [n for n in numbers if n not in loaded and self._layer.segment(n) != HOLE]
        for pack, items in self._segment_places(lacking).items():
            for span in self._chunks.plan(self._layer.packs[pack], items):
                for item, data in self._chunks.fetch(span):
                    segment = bytes(data)
                    self._check_segment(item.number, segment)
                    loaded[item.number] = segment
        self._remember(loaded)
        return loaded

    def _segment_places(self, numbers: list[int]) -> dict[int, list[Wanted]]:
        wanted: dict[int, list[Wanted]] = defaultdict(list)
        for number in numbers:
            run = next(self._layer.segment_runs.within(number, number + 1), None)
            if run is None:
                raise damaged(f"Layer {self._layer.id}", f"segment {number} has no place")
            wanted[run.pack].append(Wanted(run.chunk, self._layer.segment(number), number))
        return wanted

    def _check_segment(self, number: int, data: bytes) -> None:
        chunks = min(SEGMENT_CHUNKS, self._layer.chunks - number * SEGMENT_CHUNKS)
        if len(data) != chunks * DIGEST_SIZE:
            raise damaged(f"Layer {self._layer.id}", f"segment {number} has the wrong size")

    def _remember(self, segments: dict[int, bytes]) -> None:
        with self._lock:
            for number, data in segments.items():
                self._segments[number] = data
                self._segments.move_to_end(number)
            while len(self._segments) > _KEPT:
                self._segments.popitem(last=False)
