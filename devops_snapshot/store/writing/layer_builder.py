"""Cutting a file into chunks and segments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..dedup.chunk_table import Place
from ..format.frame import FRAME_PLAIN_LIMIT
from ..format.hashing import DIGEST_SIZE, HOLE, SEGMENT_CHUNKS, Data, digest
from ..format.runs import Runs
from .blocks import Block

Keep = Callable[[bytes, Data], tuple[Place, bool]]  # (digest, data) -> place, was it lacking

_SEGMENT_SIZE = SEGMENT_CHUNKS * DIGEST_SIZE
_SEGMENTS_TOGETHER = FRAME_PLAIN_LIMIT // _SEGMENT_SIZE  # of 2 GiB of the file
_HOLES = bytes(_SEGMENT_SIZE)


@dataclass
class Tally:
    """Counts what became of files and their chunks; plain bytes. Segments are not counted."""

    bytes_read: int = 0
    bytes_deduplicated: int = 0
    bytes_zero: int = 0
    chunks_read: int = 0
    chunks_sent: int = 0
    chunks_deduplicated: int = 0
    bytes_unread: int = 0
    layers_unread: int = 0

    @property
    def data(self) -> int:
        """Plain bytes of the files without holes, whether these were skipped or read as zeros."""
        return self.bytes_read - self.bytes_zero + self.bytes_unread


class LayerBuilder:
    """Takes the chunks of a file in ascending order.

    :param keep: called for every chunk that is not all zeros
    :param keep_segment: likewise for segments, many in a row, since they are read together
    """

    def __init__(self, keep: Keep, keep_segment: Keep, tally: Tally) -> None:
        self._keep = keep
        self._keep_segment = keep_segment
        self._tally = tally
        self._digests = bytearray()  # of the segment that is not full yet
        self._waiting: list[tuple[int, bytes, bytes]] = []  # segments: number, digest, bytes
        self._next = 0
        self.segments = bytearray()
        self.chunk_runs = Runs()
        self.segment_runs = Runs()

    def add(self, block: Block) -> None:
        """Append the chunks of a block, and holes before it if it does not follow the last one."""
        self.skip_to(block.first)
        self._tally.chunks_read += len(block.digests)
        self._tally.bytes_read += len(block.data)
        for number, key in enumerate(block.digests):
            self._add_chunk(key, block.chunk(number))

    def skip_to(self, chunk: int) -> None:
        """Append holes up to, not including, ``chunk``."""
        while self._next < chunk:
            room = SEGMENT_CHUNKS - self._next % SEGMENT_CHUNKS
            holes = min(room, chunk - self._next)
            self._append(HOLE * holes, holes)

    def finish(self) -> None:
        """End the last segment."""
        if self._digests:
            self._end_segment()
        self._store_segments()

    def _add_chunk(self, key: bytes, data: Data) -> None:
        if key == HOLE:
            self._tally.bytes_zero += len(data)
        else:
            place, was_lacking = self._keep(key, data)
            self.chunk_runs.append(self._next, place)
            if was_lacking:
                self._tally.chunks_sent += 1
            else:
                self._tally.chunks_deduplicated += 1
                self._tally.bytes_deduplicated += len(data)
        self._append(key, 1)

    def _append(self, digests: bytes, chunks: int) -> None:
        self._digests += digests
        self._next += chunks
        if len(self._digests) == _SEGMENT_SIZE:
            self._end_segment()

    def _end_segment(self) -> None:
        segment = bytes(self._digests)
        self._digests.clear()
        if segment == _HOLES[: len(segment)]:
            self.segments += HOLE
            return
        key = digest(segment)
        self._waiting.append((len(self.segments) // DIGEST_SIZE, key, segment))
        self.segments += key
        if len(self._waiting) == _SEGMENTS_TOGETHER:
            self._store_segments()

    def _store_segments(self) -> None:
        for number, key, segment in self._waiting:
            place, _ = self._keep_segment(key, segment)
            self.segment_runs.append(number, place)
        self._waiting.clear()
