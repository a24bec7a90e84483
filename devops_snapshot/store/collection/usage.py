"""How much of each pack is used: one bit for each chunk, so that millions take little memory."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Executor

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from ..bounded import map_bounded
from ..cache import Cache
from ..format.layer import Layer
from ..format.names import pack_path
from ..format.pack import FOOTER_SIZE, trailer_length

_COUNTS = struct.Struct("<II")  # frames, chunks
_NOTES = "chunks"  # how many each pack holds, 4 bytes


class Usage:
    """The chunks that some layers use."""

    def __init__(self) -> None:
        self._bits: dict[str, bytearray] = {}

    def add(self, layer: Layer) -> None:
        """Count a layer in."""
        bits = [self._bits.setdefault(pack, bytearray()) for pack in layer.packs]
        for run in itertools.chain(layer.chunk_runs, layer.segment_runs):
            _set(bits[run.pack], run.chunk, run.chunk + run.length)

    @property
    def packs(self) -> Collection[str]:
        return self._bits.keys()

    def used(self, pack: str) -> int:
        """Return the number of chunks of a pack that are used."""
        return int.from_bytes(self._bits.get(pack, b""), "little").bit_count()

    def is_used(self, pack: str, chunk: int) -> bool:
        bits = self._bits.get(pack, b"")
        return chunk >> 3 < len(bits) and bool(bits[chunk >> 3] >> (chunk & 7) & 1)


class PackShares:
    """What used chunks take on the storage node: their share, by number, of the pack's size.

    :param sizes: bytes of each pack that exists
    """

    def __init__(
        self, remote: Remote, cache: Cache, sizes: Mapping[str, int], threads: Executor
    ) -> None:
        self._remote = remote
        self._threads = threads
        self._notes = cache.notes
        self._sizes = sizes
        self._chunks = {
            pack: int.from_bytes(data, "little") for pack, data in self._notes.all(_NOTES).items()
        }
        self._notes.forget(_NOTES, self._chunks.keys() - sizes.keys())

    def learn(self, packs: Iterable[str]) -> None:
        """Learn how many chunks packs hold; those that are missing or damaged are left out."""
        unknown = [pack for pack in packs if pack in self._sizes and pack not in self._chunks]
        if not unknown:
            return
        found = dict(map_bounded(self._count, unknown, self._threads))
        self._chunks |= found
        known = {pack: chunks.to_bytes(4, "little") for pack, chunks in found.items() if chunks}
        self._notes.put(_NOTES, known)

    def chunks(self, pack: str) -> int:
        """Return how many chunks a pack holds, 0 if it is missing or damaged."""
        return self._chunks.get(pack, 0) if pack in self._sizes else 0

    def stored(self, pack: str, used: int) -> int:
        """Return the bytes that so many chunks of a pack take."""
        chunks = self.chunks(pack)
        return self._sizes[pack] * min(used, chunks) // chunks if chunks else 0

    def _count(self, pack: str) -> tuple[str, int]:
        path, size = pack_path(pack), self._sizes[pack]
        try:
            tail = self._remote.read(path, max(0, size - FOOTER_SIZE), FOOTER_SIZE)
            start = size - trailer_length(tail, f"Pack {path}")
            _, chunks = _COUNTS.unpack(self._remote.read(path, start, _COUNTS.size))
        except (FormatError, NotFoundError, struct.error):
            return pack, 0
        return pack, int(chunks)


def _set(bits: bytearray, start: int, stop: int) -> None:
    """Set the bits from ``start`` up to, not including, ``stop``, which is higher."""
    first, last = start >> 3, (stop - 1) >> 3
    if last >= len(bits):
        bits.extend(bytes(last + 1 - len(bits)))
    head, tail = 0xFF << (start & 7) & 0xFF, 0xFF >> (7 - ((stop - 1) & 7))
    if first == last:
        bits[first] |= head & tail
        return
    bits[first] |= head
    bits[first + 1 : last] = b"\xff" * (last - first - 1)
    bits[last] |= tail
