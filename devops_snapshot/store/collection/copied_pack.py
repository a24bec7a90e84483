"""Writing a pack of chunks that were read from others."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from ..format.frame import FRAME_PLAIN_LIMIT, Frame, encode_frame
from ..format.hashing import CHUNK_SIZE
from ..format.pack import (
    HEADER,
    PACK_CHUNKS,
    PACK_SIZE,
    PackedFrame,
    PackIndex,
    encode_trailer,
    pack_header,
    trailer_size,
)

_FRAME_CHUNKS = FRAME_PLAIN_LIMIT // CHUNK_SIZE


@dataclass(frozen=True)
class Chunk:
    """A chunk on its way from pack ``source``, where it has ``number``."""

    source: str
    number: int
    digest: bytes
    data: bytes


class CopiedPack:
    """A pack that is being written."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._digests = bytearray()
        self._sizes = array("I")
        self._frames: list[PackedFrame] = []
        self._end = HEADER.size

    def __len__(self) -> int:
        """How many chunks it holds so far."""
        return len(self._sizes)

    def blocks(self, name: str, chunks: Iterator[Chunk]) -> Iterator[bytes]:
        """Yield what the pack consists of; takes chunks until they end or it is full."""
        yield pack_header(self._kind)
        while not self._is_full() and (plain := self._take(chunks)):
            yield self._add(encode_frame(b"".join(plain), len(plain)))
        yield self._trailer(name)

    def _take(self, chunks: Iterator[Chunk]) -> list[bytes]:
        """Take the chunks of a frame."""
        plain = []
        for chunk in islice(chunks, _FRAME_CHUNKS):
            self._digests += chunk.digest
            self._sizes.append(len(chunk.data))
            plain.append(chunk.data)
        return plain

    def _add(self, frame: Frame) -> bytes:
        first = len(self) - frame.chunks
        size = len(frame.data)
        self._frames.append(PackedFrame(self._end, size, frame.plain_size, first, frame.chunks))
        self._end += size
        return frame.data

    def _is_full(self) -> bool:
        """Say whether one more frame could make the pack too large."""
        chunks = len(self) + _FRAME_CHUNKS
        trailer = trailer_size(len(self._frames) + 1, chunks)
        return self._end + 2 * FRAME_PLAIN_LIMIT + trailer > PACK_SIZE or chunks > PACK_CHUNKS

    def _trailer(self, name: str) -> bytes:
        size = self._end + trailer_size(len(self._frames), len(self))
        digests = bytes(self._digests)
        return encode_trailer(PackIndex(name, self._kind, self._frames, digests, self._sizes, size))
