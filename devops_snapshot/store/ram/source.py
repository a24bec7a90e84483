"""The content of a layer with encoding ``ram``, made from the file of a saved memory.

First come the pages at their guest address, memory block after memory block; then all other bytes
of the file; at last the recipe for putting the file together again.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator

from ..format.layer import Origin
from ..writing.layer_source import Extent, LayerSource
from .recipe import BYTES, HEADER, PAGE_SIZE, Step
from .stream import Scan, scan

_RECORD = struct.Struct(f"{HEADER.size}x{PAGE_SIZE}s")


class RamSource:
    """A :class:`LayerSource` whose content becomes the file :attr:`origin` again."""

    def __init__(self, file: LayerSource, found: Scan, origin: Origin) -> None:
        self.origin = origin
        self._file = file
        self._recipe = found.recipe
        self._order = found.recipe.by_source()
        self._data_size = found.ram_size + found.rest_size

    @property
    def size(self) -> int:
        return self._data_size + self._recipe.encoded_size

    def extents(self) -> Iterator[Extent]:
        """Yield where there are pages; memory blocks have gaps where a page is zeros."""
        start = end = 0
        for step in self._steps(0, self._data_size):
            if step.source != end:
                if end > start:
                    yield Extent(start, end - start)
                start = step.source
            end = step.source_end
        yield Extent(start, self.size - start)

    def pread(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self._data_size)
        content = bytearray(length)
        for step in self._steps(offset, stop):
            first = max(offset, step.source)
            data = self._read(step, first, min(stop, step.source_end))
            content[first - offset : first - offset + len(data)] = data
        if offset + length > self._data_size:
            start = max(offset, self._data_size)
            end = offset + length - self._data_size
            content[start - offset :] = self._recipe.encode(start - self._data_size, end)
        return bytes(content)

    def _steps(self, start: int, stop: int) -> Iterator[Step]:
        """Yield the steps of which something lies in a part of the content, ascending."""
        number = max(0, bisect_right(self._order, start, key=self._recipe.source_of) - 1)
        while number < len(self._order):
            step = self._recipe[self._order[number]]
            if step.source >= stop:
                break
            yield step
            number += 1

    def _read(self, step: Step, start: int, stop: int) -> bytes:
        """Return the bytes of the content from ``start`` to ``stop``, as far as a step has them."""
        if stop <= start:
            return b""
        if step.kind == BYTES:
            return self._file.pread(step.start + start - step.source, stop - start)
        first, last = (start - step.source) // PAGE_SIZE, -(-(stop - step.source) // PAGE_SIZE)
        records = self._file.pread(
            step.start + first * step.unit_size, (last - first) * step.unit_size
        )
        pages = b"".join(page for (page,) in _RECORD.iter_unpack(records))
        return pages[start - step.source - first * PAGE_SIZE :][: stop - start]


def ram_source(file: LayerSource) -> RamSource | None:
    """Return the content for a memory file, or None where that would gain nothing.

    The file is read twice, now and when the content is.
    """
    found = scan(file)
    if found is None or found[0].rest_size > file.size // 2:
        return None
    return RamSource(file, *found)
