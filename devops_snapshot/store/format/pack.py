"""Packs: a header, frames, and an index of their chunks as a trailer.

::

    header   8  magic "DSPACK\\r\\n"     4  version 1
             4  kind of layer (0 base, 1 overlay, 2 memory)
    frames   one after the other (see frame.py)
    index    4  number of frames F       4  number of chunks C
             F times: 4 size in the pack (with its header), 4 plain size, 4 number of chunks
             C times: 32 digest          C times: 4 plain size
    footer   8  magic "DSINDEX\\n"       4  version 1     4  size of the index
             8  offset of the index      4  kind          4  zero
             32 BLAKE3-256 of the index and these 32 bytes
"""

from __future__ import annotations

import enum
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from devops_snapshot.errors import FormatError

from .binary import from_bytes, to_bytes
from .frame import FRAME_HEADER_SIZE, FRAME_PLAIN_LIMIT
from .hashing import DIGEST_SIZE, digest
from .sealed import UPDATE_HINT, damaged

PACK_SIZE = 64 * 1024 * 1024  # bytes; a pack is closed before it grows beyond
PACK_CHUNKS = 32768  # and before it holds more chunks, so that its index stays around 1 MiB

HEADER = struct.Struct("<8sII")
FOOTER_SIZE = 64
_COUNTS = struct.Struct("<II")
_FRAME = struct.Struct("<III")
_FOOTER = struct.Struct("<8sIIQII")
MOST_CHUNKS = 2 * PACK_CHUNKS
"""In no pack are more, whatever its index or a layer says."""
_LARGEST_INDEX = 8 << 20  # bytes
_HEADER_MAGIC, _FOOTER_MAGIC = b"DSPACK\r\n", b"DSINDEX\n"
_VERSION = 1


class LayerKind(enum.Enum):
    """Layers of different kinds die at different times, so they lie in different packs."""

    BASE = 0
    OVERLAY = 1
    MEMORY = 2


@dataclass(frozen=True)
class PackedFrame:
    """Where a frame lies in its pack; sizes and offset in bytes, its header included."""

    offset: int
    stored_size: int
    plain_size: int
    first_chunk: int
    chunks: int


@dataclass(frozen=True)
class PackIndex:
    """What a pack holds.

    :param kind: the value of a :class:`LayerKind`, or what a later release has added
    :param digests: 32 bytes for each chunk
    :param sizes: plain bytes of each chunk
    :param size: bytes of the whole pack
    """

    pack: str
    kind: int
    frames: Sequence[PackedFrame]
    digests: bytes
    sizes: array[int]
    size: int

    def __len__(self) -> int:
        return len(self.sizes)

    def digest(self, chunk: int) -> bytes:
        return self.digests[chunk * DIGEST_SIZE : (chunk + 1) * DIGEST_SIZE]

    @cached_property
    def frame_of(self) -> array[int]:
        """The number of the frame in which each chunk lies."""
        numbers = array("I")
        for number, frame in enumerate(self.frames):
            numbers.extend([number] * frame.chunks)
        return numbers

    @cached_property
    def starts(self) -> array[int]:
        """Where each chunk starts, counted in plain bytes from the start of the pack."""
        return array("Q", accumulate(self.sizes, initial=0))

    def slice_in_frame(self, chunk: int) -> slice:
        """The plain bytes of a chunk within the plain bytes of its frame."""
        first = self.frames[self.frame_of[chunk]].first_chunk
        start = self.starts[chunk] - self.starts[first]
        return slice(start, start + self.sizes[chunk])


def pack_header(kind: int) -> bytes:
    return HEADER.pack(_HEADER_MAGIC, _VERSION, kind)


def encode_trailer(index: PackIndex) -> bytes:
    """Return index and footer: all that follows the last frame."""
    body = b"".join(
        [
            _COUNTS.pack(len(index.frames), len(index)),
            *(_FRAME.pack(f.stored_size, f.plain_size, f.chunks) for f in index.frames),
            index.digests,
            to_bytes(index.sizes),
        ]
    )
    offset = index.size - len(body) - FOOTER_SIZE
    footer = _FOOTER.pack(_FOOTER_MAGIC, _VERSION, len(body), offset, index.kind, 0)
    return body + footer + digest(body + footer)


def trailer_size(frames: int, chunks: int) -> int:
    """Return the bytes of index and footer for so many frames and chunks."""
    return _COUNTS.size + frames * _FRAME.size + chunks * (DIGEST_SIZE + 4) + FOOTER_SIZE


def trailer_length(tail: bytes, where: str) -> int:
    """Return the size of index and footer from the last bytes of a pack."""
    if len(tail) < FOOTER_SIZE:
        raise damaged(where, "it is cut off")
    magic, version, size, *_ = _FOOTER.unpack_from(tail, len(tail) - FOOTER_SIZE)
    if magic != _FOOTER_MAGIC:
        raise damaged(where, "it is cut off, or its end is overwritten")
    if version != _VERSION:
        raise FormatError(f"{where} has format version {version}, known is 1", hint=UPDATE_HINT)
    if size > _LARGEST_INDEX:
        raise damaged(where, "its index is larger than any can be")
    return int(size) + FOOTER_SIZE


def decode_trailer(pack: str, trailer: bytes, where: str) -> PackIndex:
    """Read what :func:`encode_trailer` wrote.

    :raises FormatError: a byte is not what was written
    """
    if trailer_length(trailer, where) != len(trailer):
        raise damaged(where, "its index has the wrong size")
    if digest(trailer[:-DIGEST_SIZE]) != trailer[-DIGEST_SIZE:]:
        raise damaged(where, "its index does not match its checksum")
    body = trailer[:-FOOTER_SIZE]
    _, _, _, offset, kind, _ = _FOOTER.unpack_from(trailer, len(body))
    frame_count, chunk_count = _COUNTS.unpack(body[: _COUNTS.size].ljust(_COUNTS.size, b"\0"))
    if len(trailer) != trailer_size(frame_count, chunk_count) or chunk_count > MOST_CHUNKS:
        raise damaged(where, "its index has the wrong size")
    digests_at = _COUNTS.size + frame_count * _FRAME.size
    sizes_at = digests_at + chunk_count * DIGEST_SIZE
    frames = _decode_frames(body[_COUNTS.size : digests_at], where)
    if sum(frame.chunks for frame in frames) != chunk_count:
        raise damaged(where, "its frames hold another number of chunks")
    if HEADER.size + sum(frame.stored_size for frame in frames) != offset:
        raise damaged(where, "its frames have other sizes")
    return PackIndex(
        pack=pack,
        kind=kind,
        frames=frames,
        digests=body[digests_at:sizes_at],
        sizes=from_bytes("I", body[sizes_at:]),
        size=offset + len(trailer),
    )


def _decode_frames(data: bytes, where: str) -> list[PackedFrame]:
    frames, offset, first = [], HEADER.size, 0
    for stored_size, plain_size, chunks in _FRAME.iter_unpack(data):
        if stored_size > FRAME_HEADER_SIZE + FRAME_PLAIN_LIMIT or plain_size > FRAME_PLAIN_LIMIT:
            raise damaged(where, "a frame is larger than any can be")
        frames.append(PackedFrame(offset, stored_size, plain_size, first, chunks))
        offset += stored_size
        first += chunks
    return frames
