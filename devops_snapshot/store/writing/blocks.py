"""Reading a file and hashing its chunks: one thread reads, others hash.

A block is some neighbouring chunks that were read at once. What is looked up and stored together is
a window of blocks. Both are bounded, and with them the memory of an export.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from ..bounded import map_bounded
from ..format.hashing import CHUNK_SIZE, HOLE, chunk_digest
from .layer_source import LayerSource

BLOCK_CHUNKS = 16  # 1 MiB
WINDOW_CHUNKS = 256  # 16 MiB
_UNDER_WAY = 16  # blocks that are read ahead: 16 MiB


@dataclass(frozen=True)
class Block:
    """Neighbouring chunks of a file.

    :param first: number of the first one
    :param data: the bytes of all of them
    :param digests: of each; :data:`~.hashing.HOLE` for one that is all zeros
    """

    first: int
    data: memoryview
    digests: Sequence[bytes]

    @property
    def end(self) -> int:
        """Bytes from the start of the file to the end of the block."""
        return self.first * CHUNK_SIZE + len(self.data)

    def chunk(self, number: int) -> memoryview:
        """The bytes of a chunk, counted from the start of the block; nothing is copied."""
        return self.data[number * CHUNK_SIZE : (number + 1) * CHUNK_SIZE]


def hashed_windows(source: LayerSource, threads: Executor) -> Iterator[list[Block]]:
    """Yield all data of a file, ascending, in windows of up to :data:`WINDOW_CHUNKS` chunks."""
    window: list[Block] = []
    chunks = 0
    for block in map_bounded(_hash, _read(source), threads, under_way=_UNDER_WAY):
        if chunks + len(block.digests) > WINDOW_CHUNKS:
            yield window
            window, chunks = [], 0
        window.append(block)
        chunks += len(block.digests)
    if window:
        yield window


def digests_of(window: Iterable[Block]) -> list[bytes]:
    """The digests of all chunks that are no holes."""
    return [digest for block in window for digest in block.digests if digest != HOLE]


def _read(source: LayerSource) -> Iterator[tuple[int, bytes]]:
    """Yield (number of the first chunk, bytes of some chunks) for all data of a file, ascending."""
    done = 0  # chunks; an extent may begin in a chunk that the one before has covered
    for extent in source.extents():
        first = max(done, extent.offset // CHUNK_SIZE)
        done = max(done, -(-(extent.offset + extent.length) // CHUNK_SIZE))
        for chunk in range(first, done, BLOCK_CHUNKS):
            start = chunk * CHUNK_SIZE
            stop = min(min(chunk + BLOCK_CHUNKS, done) * CHUNK_SIZE, source.size)
            yield chunk, source.pread(start, stop - start)


def _hash(block: tuple[int, bytes]) -> Block:
    first, data = block
    view = memoryview(data)
    starts = range(0, len(view), CHUNK_SIZE)
    return Block(first, view, [chunk_digest(view[at : at + CHUNK_SIZE]) for at in starts])
