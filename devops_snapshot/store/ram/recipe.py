"""The recipe: how the file of a saved memory is put together from the content of its layer.

It is a list of steps in the order of the file, without gaps:

- ``BYTES``: so many bytes of the content as they are;
- ``PAGES``: so many times a header and a page; the pages follow one another in the content;
- ``ZEROS``: so many times a header and a zero byte, which stand for a page of zeros.

A header is 8 bytes, big endian: a guest address that is a multiple of 4096, plus flags. Within a
step each is 4096 more than the one before.
"""

from __future__ import annotations

import heapq
import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from ..format.binary import from_bytes, to_bytes
from ..format.sealed import damaged

BYTES, PAGES, ZEROS = 0, 1, 2
PAGE_SIZE = 4096  # bytes
HEADER = struct.Struct(">Q")
MAX_STEPS = 1 << 22  # 29 bytes each in memory; a guest of 256 GiB in pieces of 64 KiB has as many

_UNIT_IN_FILE = {BYTES: 1, PAGES: HEADER.size + PAGE_SIZE, ZEROS: HEADER.size + 1}
_UNIT_IN_CONTENT = {BYTES: 1, PAGES: PAGE_SIZE, ZEROS: 0}
_MOST = (1 << 32) - 1  # units in one step
_STEP_SIZE = 21  # bytes when encoded
_SORTED_AT_ONCE = 1 << 17  # steps; Python's numbers take ten times the memory of those in arrays
_NUMBER = struct.Struct("<Q")
END_SIZE = _NUMBER.size  # bytes at the end of the content that tell how long the recipe is


class Step(NamedTuple):
    """A part of the file.

    :param kind: ``BYTES``, ``PAGES`` or ``ZEROS``
    :param units: so many bytes, or pages
    :param header: the first one, for ``PAGES`` and ``ZEROS``; otherwise 0
    :param source: offset in the content, for ``BYTES`` and ``PAGES``; otherwise 0
    :param start: offset in the file
    """

    kind: int
    units: int
    header: int
    source: int
    start: int

    @property
    def unit_size(self) -> int:
        """Bytes in the file."""
        return _UNIT_IN_FILE[self.kind]

    @property
    def end(self) -> int:
        """Offset in the file."""
        return self.start + self.units * self.unit_size

    @property
    def source_end(self) -> int:
        """Offset in the content."""
        return self.source + self.units * _UNIT_IN_CONTENT[self.kind]

    def part(self, first: int, stop: int) -> Step:
        """Return some of its units, counted from 0."""
        _, header, source = _skipped(self.kind, first, self.units, self.header, self.source)
        return Step(self.kind, stop - first, header, source, self.start + first * self.unit_size)


class Recipe:
    """Steps in arrays; :attr:`size` is that of the file which they make up."""

    def __init__(self) -> None:
        self._headers = array("Q")
        self._sources = array("Q")
        self._counts = array("I")
        self._kinds = array("B")
        self._starts = array("Q")
        self.size = 0

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, number: int) -> Step:
        return Step(
            self._kinds[number],
            self._counts[number],
            self._headers[number],
            self._sources[number],
            self._starts[number],
        )

    def append(self, kind: int, count: int, *, header: int = 0, source: int = 0) -> None:
        """Add to the file's end; what continues the last step becomes a part of it."""
        self.size += count * _UNIT_IN_FILE[kind]
        if self._kinds and self._continues(kind, header, source):
            joined = min(count, _MOST - self._counts[-1])
            self._counts[-1] += joined
            count, header, source = _skipped(kind, joined, count, header, source)
        while count:
            some = min(count, _MOST)
            self._kinds.append(kind)
            self._counts.append(some)
            self._headers.append(header)
            self._sources.append(source)
            self._starts.append(self.size - count * _UNIT_IN_FILE[kind])
            count, header, source = _skipped(kind, some, count, header, source)

    def within(self, start: int, stop: int) -> Iterator[Step]:
        """Yield the steps that make up some bytes of the file, the first and last whole, too."""
        number = max(0, bisect_right(self._starts, start) - 1)
        while number < len(self) and self._starts[number] < stop:
            yield self[number]
            number += 1

    def source_of(self, number: int) -> int:
        """Return where in the content a step begins."""
        return self._sources[number]

    def by_source(self) -> array[int]:
        """Return the numbers of the steps that take something of the content, by where it lies."""
        starts = range(0, len(self), _SORTED_AT_ONCE)
        parts = [self._sorted_by_source(start, start + _SORTED_AT_ONCE) for start in starts]
        return array("I", heapq.merge(*parts, key=self._sources.__getitem__))

    @property
    def encoded_size(self) -> int:
        """Bytes that :meth:`encode` may return."""
        return len(self) * _STEP_SIZE + _NUMBER.size

    def encode(self, start: int, stop: int) -> bytes:
        """Return some bytes of the encoded recipe: columns, and at the very end how long they are.

        There may be millions of steps, so the whole is never in memory a second time.
        """
        parts = []
        for column in (self._headers, self._sources, self._counts, self._kinds, self._length()):
            width = column.itemsize
            first, last = max(start, 0) // width, -(-max(stop, 0) // width)
            part = to_bytes(column[first:last])
            parts.append(part[max(start, 0) - first * width : max(stop, 0) - first * width])
            start, stop = start - len(column) * width, stop - len(column) * width
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes, *, content: int, where: str) -> Recipe:
        """Read what :meth:`encode` wrote.

        :param content: bytes of the content that come before the recipe
        :raises FormatError: it would make a reader leave its bounds
        """
        number = (len(data) - _NUMBER.size) // _STEP_SIZE
        recipe = cls()
        recipe._headers = from_bytes("Q", data[: 8 * number])
        recipe._sources = from_bytes("Q", data[8 * number : 16 * number])
        recipe._counts = from_bytes("I", data[16 * number : 20 * number])
        recipe._kinds = array("B", data[20 * number : 21 * number])
        for kind, count, header, source in zip(
            recipe._kinds, recipe._counts, recipe._headers, recipe._sources, strict=True
        ):
            recipe._starts.append(recipe.size)
            if kind > ZEROS or source + count * _UNIT_IN_CONTENT[kind] > content:
                raise damaged(where, "its recipe makes no sense")
            if not count or (kind != BYTES and header + count * PAGE_SIZE > 1 << 64):
                raise damaged(where, "its recipe makes no sense")
            recipe.size += count * _UNIT_IN_FILE[kind]
        return recipe

    def _length(self) -> array[int]:
        return array("Q", [len(self)])

    def _sorted_by_source(self, start: int, stop: int) -> array[int]:
        """Return those numbers of some steps that :meth:`by_source` returns, sorted."""
        kinds = enumerate(self._kinds[start:stop], start)
        taking = [number for number, kind in kinds if kind != ZEROS]
        return array("I", sorted(taking, key=self._sources.__getitem__))

    def _continues(self, kind: int, header: int, source: int) -> bool:
        count = self._counts[-1]
        return (
            kind == self._kinds[-1]
            and (kind == BYTES or header == self._headers[-1] + count * PAGE_SIZE)
            and (kind == ZEROS or source == self._sources[-1] + count * _UNIT_IN_CONTENT[kind])
        )


def encoded_size(end: bytes, where: str) -> int:
    """Return the bytes that a recipe takes from those at the end of the content.

    :raises FormatError: it is none that this release has written
    """
    steps = _NUMBER.unpack(end)[0] if len(end) == END_SIZE else 0
    if not 0 < steps <= MAX_STEPS:
        raise damaged(where, f"its recipe cannot have {steps} steps")
    return int(steps) * _STEP_SIZE + END_SIZE


def _skipped(kind: int, done: int, count: int, header: int, source: int) -> tuple[int, int, int]:
    """Return count, header and source of what is left of a step after ``done`` of its count."""
    if kind != BYTES:
        header += done * PAGE_SIZE
    if kind != ZEROS:
        source += done * _UNIT_IN_CONTENT[kind]
    return count - done, header, source
