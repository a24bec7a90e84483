"""The digest, and the sizes that format version 1 is made with."""

from __future__ import annotations

from typing import TypeAlias

from blake3 import blake3

#: Bytes of a chunk, or several; a view of them saves copying.
Data: TypeAlias = "bytes | memoryview"

CHUNK_SIZE = 64 * 1024  # bytes; the cluster size of qcow2, and its alignment in the file
DIGEST_SIZE = 32  # bytes
SEGMENT_CHUNKS = 256  # digests in one segment: 16 MiB of a file
HOLE = bytes(DIGEST_SIZE)  # stands for a chunk, or a segment, of nothing but zeros


def digest(data: Data, *more: Data) -> bytes:
    """Return the BLAKE3-256 of ``data``, followed by ``more``: 32 bytes."""
    state = blake3(data)
    for part in more:
        state.update(part)
    return state.digest()


_ZEROS = digest(bytes(CHUNK_SIZE))


def chunk_digest(data: Data) -> bytes:
    """Return the digest of a chunk, or :data:`HOLE` if it is nothing but zeros."""
    found = digest(data)
    is_hole = found == _ZEROS or (len(data) < CHUNK_SIZE and not any(data))
    return HOLE if is_hole else found
