"""Cutting a file into chunks and segments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .chunk_table import Place
from .hashing import CHUNK_SIZE, DIGEST_SIZE, HOLE, SEGMENT_CHUNKS, digest
from .layer_source import LayerSource
from .runs import Runs

Keep = Callable[[bytes, bytes], tuple[Place, bool]]  # (digest, data) -> place, was it lacking

READ_CHUNKS = 16  # chunks read at a time: 1 MiB
_SEGMENT_SIZE = SEGMENT_CHUNKS * DIGEST_SIZE
_ZEROS = bytes(CHUNK_SIZE)


@dataclass
class Tally:
    """Counts what became of chunks; plain bytes. Segments are not counted."""

    bytes_read: int = 0
    bytes_deduplicated: int = 0
    bytes_zero: int = 0
    chunks_read: int = 0
    chunks_sent: int = 0
    chunks_deduplicated: int = 0


class LayerBuilder:
    """Takes the chunks of a file in ascending order.

    :param keep: called for every chunk and every segment that is not all zeros
    """

    def __init__(self, keep: Keep, tally: Tally) -> None:
        self._keep = keep
        self._tally = tally
        self._digests = bytearray()  # of the segment that is not full yet
        self._next = 0
        self.segments = bytearray()
        self.chunk_runs = Runs()
        self.segment_runs = Runs()

    def add(self, data: bytes) -> None:
        """Append a chunk."""
        self._tally.chunks_read += 1
        self._tally.bytes_read += len(data)
        if data == _ZEROS[: len(data)]:
            self._tally.bytes_zero += len(data)
            self._append(HOLE)
            return
        key = digest(data)
        place, was_lacking = self._keep(key, data)
        if was_lacking:
            self._tally.chunks_sent += 1
        else:
            self._tally.chunks_deduplicated += 1
            self._tally.bytes_deduplicated += len(data)
        self.chunk_runs.append(self._next, place)
        self._append(key)

    def skip_to(self, chunk: int) -> None:
        """Append holes up to, not including, ``chunk``."""
        while self._next < chunk:
            room = SEGMENT_CHUNKS - self._next % SEGMENT_CHUNKS
            holes = min(room, chunk - self._next)
            self._append(HOLE * holes)

    def finish(self) -> None:
        """End the last segment."""
        if self._digests:
            self._end_segment()

    def _append(self, digests: bytes) -> None:
        self._digests += digests
        self._next += len(digests) // DIGEST_SIZE
        if len(self._digests) == _SEGMENT_SIZE:
            self._end_segment()

    def _end_segment(self) -> None:
        segment = bytes(self._digests)
        self._digests.clear()
        if segment == _ZEROS[: len(segment)]:
            self.segments += HOLE
            return
        key = digest(segment)
        place, _ = self._keep(key, segment)
        self.segment_runs.append(len(self.segments) // DIGEST_SIZE, place)
        self.segments += key


def read_blocks(source: LayerSource) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first chunk, bytes of some chunks) for all data of a file, ascending."""
    done = 0  # chunks; an extent may begin in a chunk that the one before has covered
    for extent in source.extents():
        first = max(done, extent.offset // CHUNK_SIZE)
        done = max(done, -(-(extent.offset + extent.length) // CHUNK_SIZE))
        for chunk in range(first, done, READ_CHUNKS):
            start = chunk * CHUNK_SIZE
            stop = min(min(chunk + READ_CHUNKS, done) * CHUNK_SIZE, source.size)
            yield chunk, source.pread(start, stop - start)
