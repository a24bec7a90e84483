"""Which chunks the repository has already.

This one knows every chunk of every pack. What :class:`ChunkIndex` offers to an export, ``find`` and
``add``, is all that an export asks for, so that a bounded index can take its place.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from devops_snapshot.errors import FormatError
from devops_snapshot.remote import Entry, Remote

from .chunk_table import ChunkTable, Place
from .names import PACKS, is_pack_name
from .pack import PackIndex
from .pack_indexes import PackIndexes

log = logging.getLogger(__name__)

_PARALLEL = 4  # listings and indexes fetched at the same time


class ChunkIndex:
    """Finds chunks in the packs that exist, and in those of the running export."""

    def __init__(self, indexes: PackIndexes) -> None:
        self._indexes = indexes
        self._table = ChunkTable()
        self._packs: list[str] = []
        self._unfinished: dict[int, bytearray] = {}

    def load(self, remote: Remote) -> None:
        """Learn the packs that exist now; those that cannot be read are not relied upon."""
        with ThreadPoolExecutor(_PARALLEL) as threads:
            packs = list_packs(remote, threads)
            self._indexes.forget_all_but({pack.name for pack in packs})
            for index in threads.map(self._readable, packs):
                if index:
                    self._table.add_pack(index.digests, self._number(index.pack))

    @property
    def packs(self) -> list[str]:
        """The names that the numbers in places stand for."""
        return self._packs

    def find(self, digest: bytes) -> Place | None:
        """Return where a chunk lies, or None if the repository lacks it."""
        place = self._table.find(digest)
        if place and self._digest_at(place) == digest:
            return place
        return None

    def open_pack(self, pack: str) -> int:
        """Make the chunks of a pack that is being written known as they are added."""
        number = self._number(pack)
        self._unfinished[number] = bytearray()
        return number

    def add(self, digest: bytes, pack: int) -> Place:
        """Append a chunk to an open pack."""
        digests = self._unfinished[pack]
        place = Place(pack, len(digests) // len(digest))
        digests += digest
        self._table.add(digest, place)
        return place

    def close_pack(self, index: PackIndex, number: int) -> None:
        self._indexes.put(index)
        del self._unfinished[number]

    def _number(self, pack: str) -> int:
        self._packs.append(pack)
        return len(self._packs) - 1

    def _digest_at(self, place: Place) -> bytes:
        digests = self._unfinished.get(place.pack)
        if digests is not None:
            return bytes(digests[place.chunk * 32 : place.chunk * 32 + 32])
        return self._indexes.get(self._packs[place.pack]).digest(place.chunk)

    def _readable(self, pack: Entry) -> PackIndex | None:
        try:
            return self._indexes.load(pack.name, pack.size)
        except FormatError as error:
            log.warning("%s; its chunks are sent again", error.message)
            return None


def list_packs(remote: Remote, threads: ThreadPoolExecutor) -> list[Entry]:
    """Return all packs of a repository."""
    directories = [f"{PACKS}/{entry.name}" for entry in remote.list(PACKS) if entry.is_directory]
    listings: Iterable[list[Entry]] = threads.map(remote.list, directories)
    return [entry for listing in listings for entry in listing if is_pack_name(entry.name)]
