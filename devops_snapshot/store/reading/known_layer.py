"""What a host keeps of a layer beside its file, so that chunks of it are found again.

Two saves of one memory, or two disks on one base image, have most of their chunks in common, but
not in the same places: so they are looked for by their digests. What is kept is of this host alone,
and nothing that is found by it is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..dedup.chunk_table import ChunkTable
from ..format.hashing import CHUNK_SIZE, DIGEST_SIZE, Data
from ..format.layer import Origin
from ..format.sealed import damaged
from ..ram.recipe import Recipe
from ..ram.source import RamSource
from ..ram.stream import Scan
from ..writing.layer_source import LayerSource

_MAGIC = b"DSKNOWN1"
_HEAD = struct.Struct("<8sQQ")  # magic, bytes of the runs, bytes of the digests; the recipe follows
_RUN = struct.Struct("<QQ")  # first chunk, number of chunks
_LAST = (1 << 32) - 1  # number of a chunk in the table
_MOST_CHUNKS = 1 << 21  # in memory, 16 to 48 bytes each


@dataclass(frozen=True)
class KnownLayer:
    """The chunks of a layer that are not holes.

    :param runs: (number of the first chunk, how many there are), ascending
    :param digests: of these chunks, one after the other
    :param recipe: where chunks are not those of the file: how it is made of them, encoded
    """

    runs: tuple[tuple[int, int], ...]
    digests: bytes
    recipe: bytes = b""

    @classmethod
    def of(cls, digests: Iterable[Mapping[int, bytes]], recipe: bytes = b"") -> KnownLayer | None:
        """Gather the digests of a layer, ascending; None where they are too many."""
        runs: list[tuple[int, int]] = []
        gathered = bytearray()
        for part in digests:
            for number, digest in sorted(part.items()):
                first, length = runs[-1] if runs else (0, -1)
                if first + length == number:
                    runs[-1] = first, length + 1
                else:
                    runs.append((number, 1))
                gathered += digest
            if len(gathered) > _MOST_CHUNKS * DIGEST_SIZE or (runs and sum(runs[-1]) > _LAST):
                return None
        return cls(tuple(runs), bytes(gathered), recipe)

    def encode(self) -> bytes:
        runs = b"".join(_RUN.pack(*run) for run in self.runs)
        head = _HEAD.pack(_MAGIC, len(runs), len(self.digests))
        return b"".join([head, runs, self.digests, self.recipe])

    @classmethod
    def decode(cls, data: bytes, where: str) -> KnownLayer:
        """:raises FormatError: it is not what :meth:`encode` wrote"""
        if len(data) < _HEAD.size or not data.startswith(_MAGIC):
            raise damaged(where, "it makes no sense")
        _, runs, digests = _HEAD.unpack_from(data)
        start, end = _HEAD.size + runs, _HEAD.size + runs + digests
        if runs % _RUN.size or end > len(data):
            raise damaged(where, "it is cut off")
        known = cls(tuple(_RUN.iter_unpack(data[_HEAD.size : start])), data[start:end], data[end:])
        chunks = sum(length for _, length in known.runs)
        end = max((first + length for first, length in known.runs), default=0)
        if chunks * DIGEST_SIZE != digests or end > _LAST:
            raise damaged(where, "it contradicts itself")
        return known

    def content_of(self, file: LayerSource) -> LayerSource:
        """Return what the chunks are parts of.

        :param file: that the layer becomes
        :raises FormatError: the recipe makes no sense
        """
        if not self.recipe:
            return file
        recipe = Recipe.decode(self.recipe, content=1 << 62, where="a kept recipe")
        return RamSource(file, Scan(recipe, 1 << 62), Origin(0, ""))

    def tables(self) -> Iterator[tuple[int, bytes]]:
        """Yield (number of a chunk, digests of it and those that follow)."""
        at = 0
        for first, length in self.runs:
            yield first, self.digests[at : at + length * DIGEST_SIZE]
            at += length * DIGEST_SIZE


class Seeds:
    """Chunks of layers whose files are on this host; see :class:`~.at_hand.AtHand`."""

    def __init__(self) -> None:
        self._table = ChunkTable()
        self._contents: list[LayerSource] = []

    def add(self, known: KnownLayer, file: LayerSource) -> None:
        """Add a layer, unless there are too many.

        :raises FormatError: what is known of it makes no sense
        """
        if len(self._table) + len(known.digests) // DIGEST_SIZE > _MOST_CHUNKS:
            return
        self._contents.append(known.content_of(file))
        for first, digests in known.tables():
            self._table.add_pack(digests, len(self._contents) - 1, first_chunk=first)

    def find(self, number: int, digest: bytes) -> Data | None:
        place = self._table.find(digest)
        if place is None:
            return None
        return self._contents[place.pack].pread(place.chunk * CHUNK_SIZE, CHUNK_SIZE)
