"""Where the chunks of a layer lie, written as runs: most follow one another in a pack.

A run says that chunks ``first``, ``first + 1`` ... of the layer, ``length`` of them, are chunks
``chunk``, ``chunk + 1`` ... of a pack. What no run covers is a hole.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..dedup.chunk_table import Place
from .binary import from_bytes, to_bytes

RUN_SIZE = 20  # bytes when encoded: 8 first, 4 length, 4 pack, 4 chunk


class Run(NamedTuple):
    first: int
    length: int
    pack: int
    chunk: int


class Runs:
    """An ascending list of runs in arrays, 20 bytes each."""

    def __init__(self) -> None:
        self._first = array("Q")
        self._length = array("I")
        self._pack = array("I")
        self._chunk = array("I")

    def __len__(self) -> int:
        return len(self._first)

    def __iter__(self) -> Iterator[Run]:
        return map(Run, self._first, self._length, self._pack, self._chunk)

    def append(self, number: int, place: Place) -> None:
        """Add chunk ``number``, which is higher than all before."""
        if self._first:
            length = self._length[-1]
            follows = self._first[-1] + length == number
            if follows and (self._pack[-1], self._chunk[-1] + length) == place:
                self._length[-1] = length + 1
                return
        self._extend(Run(number, 1, place.pack, place.chunk))

    def within(self, start: int, stop: int) -> Iterator[Run]:
        """Yield what of the runs lies in ``start`` up to, not including, ``stop``."""
        at = max(0, bisect_right(self._first, start) - 1)
        while at < len(self._first) and self._first[at] < stop:
            first = max(start, self._first[at])
            last = min(stop, self._first[at] + self._length[at])
            if first < last:
                chunk = self._chunk[at] + first - self._first[at]
                yield Run(first, last - first, self._pack[at], chunk)
            at += 1

    def packs(self) -> set[int]:
        return set(self._pack)

    def renumbered(self, packs: Mapping[int, int]) -> Runs:
        """Return the same runs with other pack numbers."""
        runs = Runs()
        for run in self:
            runs._extend(run._replace(pack=packs[run.pack]))
        return runs

    def encode(self) -> bytes:
        """Return all firsts, then all lengths, packs, chunks: columns compress better."""
        columns = (self._first, self._length, self._pack, self._chunk)
        return b"".join(to_bytes(column) for column in columns)

    @classmethod
    def decode(cls, data: bytes) -> Runs:
        runs = cls()
        number = len(data) // RUN_SIZE
        runs._first = from_bytes("Q", data[: 8 * number])
        rest = from_bytes("I", data[8 * number :])
        runs._length, runs._pack, runs._chunk = (
            rest[column * number : (column + 1) * number] for column in range(3)
        )
        return runs

    def _extend(self, run: Run) -> None:
        self._first.append(run.first)
        self._length.append(run.length)
        self._pack.append(run.pack)
        self._chunk.append(run.chunk)
