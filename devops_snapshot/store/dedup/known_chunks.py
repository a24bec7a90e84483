"""The chunks that an export knows at present, in bounded memory: the oldest are forgotten."""

from __future__ import annotations

from ..format.hashing import DIGEST_SIZE
from .chunk_table import ChunkTable, Place

GENERATION = (1 << 20) * 2 // 3  # chunks; what a table of 2**20 slots takes


class _Generation:
    """A table, and the digests of the packs in it to confirm its hits: at most 40 MB."""

    def __init__(self) -> None:
        self.table = ChunkTable()
        self.packs: dict[int, bytes | bytearray] = {}

    def find(self, digest: bytes) -> Place | None:
        place = self.table.find(digest)
        if place:
            start = place.chunk * DIGEST_SIZE
            if self.packs[place.pack][start : start + DIGEST_SIZE] == digest:
                return place
        return None


class KnownChunks:
    """Two generations: when the young one is full, it becomes the old one, which is forgotten.

    Packs are known by numbers that the caller gives.
    """

    def __init__(self, limit: int = GENERATION) -> None:
        self._limit = limit
        self._young, self._old = _Generation(), _Generation()

    def __len__(self) -> int:
        return len(self._young.table) + len(self._old.table)

    def find(self, digest: bytes) -> Place | None:
        return self._young.find(digest) or self._old.find(digest)

    def is_fresh(self, pack: int) -> bool:
        """Say whether a pack is known and not about to be forgotten."""
        return pack in self._young.packs

    def room(self) -> int:
        """Return how many chunks may be added before any is forgotten."""
        return self._limit - len(self._young.table)

    def add_pack(self, pack: int, digests: bytes) -> None:
        self._make_room(len(digests) // DIGEST_SIZE)
        self._young.packs[pack] = digests
        self._young.table.add_pack(digests, pack)

    def add(self, pack: int, digests: bytearray) -> Place:
        """Take in the last chunk of a pack that grows."""
        self._make_room(1)
        self._young.packs[pack] = digests
        place = Place(pack, len(digests) // DIGEST_SIZE - 1)
        self._young.table.add(bytes(digests[-DIGEST_SIZE:]), place)
        return place

    def refresh(self, pack: int) -> bool:
        """Keep a pack from being forgotten soon; say whether it was still known."""
        digests = self._old.packs.get(pack)
        if digests is not None and not self.is_fresh(pack):
            self.add_pack(pack, bytes(digests))
        return digests is not None

    def _make_room(self, chunks: int) -> None:
        if chunks > self.room() and self._young.packs:
            self._old, self._young = self._young, _Generation()
