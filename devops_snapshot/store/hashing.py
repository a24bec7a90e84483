"""The digest, and the sizes that format version 1 is made with."""

from __future__ import annotations

from blake3 import blake3

CHUNK_SIZE = 64 * 1024  # bytes; the cluster size of qcow2, and its alignment in the file
DIGEST_SIZE = 32  # bytes
SEGMENT_CHUNKS = 256  # digests in one segment: 16 MiB of a file
HOLE = bytes(DIGEST_SIZE)  # stands for a chunk, or a segment, of nothing but zeros


def digest(data: bytes) -> bytes:
    """Return the BLAKE3-256 of ``data``: 32 bytes."""
    return blake3(data).digest()
