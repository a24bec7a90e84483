"""From chunk digests to places: 16 bytes a slot, so that tens of millions fit into memory."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from ..format.binary import from_bytes
from ..format.hashing import DIGEST_SIZE


class Place(NamedTuple):
    """Where a chunk lies.

    :param pack: a number that the holder of the pack names has given
    :param chunk: its number in the pack
    """

    pack: int
    chunk: int


class ChunkTable:
    """Open addressing on the first 8 bytes of a digest.

    A hit is a hint that the caller confirms with the whole digest. Of several chunks with the same
    8 bytes the first stays.
    """

    def __init__(self) -> None:
        self._allocate(1 << 12)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def find(self, digest: bytes) -> Place | None:
        key = int.from_bytes(digest[:8], "little") or 1
        mask = self._mask
        slot = key & mask
        while (found := self._keys[slot]) != key:
            if not found:
                return None
            slot = (slot + 1) & mask
        place = self._places[slot]
        return Place(place >> 32, place & 0xFFFFFFFF)

    def add(self, digest: bytes, place: Place) -> None:
        self.add_pack(digest, place.pack, first_chunk=place.chunk)

    def add_pack(self, digests: bytes, pack: int, *, first_chunk: int = 0) -> None:
        """Add digests that lie one after the other in ``pack``."""
        keys = from_bytes("Q", digests)[:: DIGEST_SIZE // 8]
        self._reserve(len(keys))
        table, places, mask = self._keys, self._places, self._mask
        place = (pack << 32) | first_chunk
        for key in keys:
            key = key or 1
            slot = key & mask
            while (found := table[slot]) and found != key:
                slot = (slot + 1) & mask
            if not found:
                table[slot] = key
                places[slot] = place
                self._used += 1
            place += 1

    def _allocate(self, slots: int) -> None:
        self._mask = slots - 1
        self._keys = array("Q", bytes(8 * slots))
        self._places = array("Q", bytes(8 * slots))

    def _reserve(self, more: int) -> None:
        slots = self._mask + 1
        while (self._used + more) * 3 > slots * 2:
            slots *= 2
        if slots > self._mask + 1:
            self._grow(slots)

    def _grow(self, slots: int) -> None:
        old_keys, old_places = self._keys, self._places
        self._allocate(slots)
        keys, places, mask = self._keys, self._places, self._mask
        for key, place in zip(old_keys, old_places, strict=True):
            if key:
                slot = key & mask
                while keys[slot]:
                    slot = (slot + 1) & mask
                keys[slot] = key
                places[slot] = place
