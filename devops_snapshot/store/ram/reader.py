"""Reading a layer with encoding ``ram`` as the file of the saved memory."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from blake3 import blake3

from ..bounded import map_bounded
from ..format.layer import Origin
from ..format.sealed import damaged
from ..progress import Progress
from ..reading.at_hand import AtHand, InPlace
from ..reading.known_layer import KnownLayer
from ..reading.layer_content import LayerContent
from ..reading.layer_reader import THREADS, RestoreStats
from ..reading.layer_sink import LayerSink
from ..writing.layer_source import Extent, LayerSource
from .gather import Gathered, expect_gathered, gathered
from .recipe import BYTES, END_SIZE, HEADER, PAGE_SIZE, ZEROS, Recipe, Step, encoded_size
from .source import RamSource
from .stream import Scan

_WINDOW = 8 << 20  # bytes of the file that are put together by one thread
_STEP_LIMIT = 1 << 20  # bytes of the file that are made in one go
_PAGE = struct.Struct(f"{PAGE_SIZE}s")
_RAW_HEADER = struct.Struct(f"{HEADER.size}s")


class RamReader:
    """The file of a saved memory; see :class:`~..layer_reader.LayerReader`."""

    def __init__(self, content: LayerContent, origin: Origin) -> None:
        self._content = content
        self._origin = origin
        self._recipe: Recipe | None = None
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        return self._origin.size

    def extents(self) -> Iterator[Extent]:
        """Yield all of it: there are no holes worth looking for."""
        if self.size:
            yield Extent(0, self.size)

    def pread(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size)
        return b"".join(self._parts(offset, stop)) if offset < stop else b""

    def expect_restore(self) -> None:
        recipe = self._load_recipe()
        for offset in range(0, self.size, _WINDOW):
            stop = min(offset + _WINDOW, self.size)
            expect_gathered(_small_steps(recipe, offset, stop), self._content)

    def look_in(self, file: LayerSource) -> None:
        recipe = self._load_recipe()
        found = Scan(recipe, self._content.size - recipe.encoded_size)
        self._content.look_in(InPlace(RamSource(file, found, self._origin)))

    def look_among(self, seeds: AtHand) -> None:
        self._content.look_in(seeds)

    def known(self) -> KnownLayer | None:
        recipe = self._load_recipe()
        encoded = recipe.encode(0, recipe.encoded_size)
        return KnownLayer.of(self._content.all_digests(), encoded)

    def restore(self, sink: LayerSink, progress: Progress) -> RestoreStats:
        sink.allocate(self.size)
        before, state = self._content.bytes_received, blake3()
        with ThreadPoolExecutor(THREADS, thread_name_prefix="restore") as threads:
            restore = partial(self._restore_window, sink)
            windows = range(0, self.size, _WINDOW)
            for data in map_bounded(restore, windows, threads, under_way=THREADS):
                state.update(data)
                progress(len(data))
        if state.hexdigest() != self._origin.digest:
            raise damaged(self._content.name, "it does not become the file that was saved")
        return RestoreStats(self._content.bytes_received - before, self.size)

    def is_in(self, file: LayerSource) -> bool:
        if file.size != self.size:
            return False
        state = blake3(max_threads=blake3.AUTO)
        for offset in range(0, self.size, _WINDOW):
            state.update(file.pread(offset, min(_WINDOW, self.size - offset)))
        return state.hexdigest() == self._origin.digest

    def _restore_window(self, sink: LayerSink, offset: int) -> bytes:
        data = self.pread(offset, _WINDOW)
        sink.pwrite(offset, data)
        return data

    def _parts(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of the file from ``start`` to ``stop``."""
        steps = _small_steps(self._load_recipe(), start, stop)
        for batch, content in gathered(steps, self._content):
            for step in batch:
                part = _make(step, content)
                yield part[max(0, start - step.start) : stop - step.start]

    def _load_recipe(self) -> Recipe:
        """Return the recipe, which is read when it is needed first.

        :raises FormatError: it would make a reader leave its bounds
        """
        with self._lock:
            if self._recipe is None:
                self._recipe = self._read_recipe()
            return self._recipe

    def _read_recipe(self) -> Recipe:
        content = self._content
        end = content.pread(max(0, content.size - END_SIZE), END_SIZE, keep=True)
        size = encoded_size(end, content.name)
        if size > content.size:
            raise damaged(content.name, "its recipe makes no sense")
        start = content.size - size
        encoded = content.pread(start, size, keep=True)
        recipe = Recipe.decode(encoded, content=start, where=content.name)
        if recipe.size != self.size:
            raise damaged(content.name, "its recipe is for a file of another size")
        return recipe


def _small_steps(recipe: Recipe, start: int, stop: int) -> Iterator[Step]:
    """Yield steps of limited size that make up the file from ``start`` to ``stop``, at least."""
    for step in recipe.within(start, stop):
        size, at_once = step.unit_size, _STEP_LIMIT // step.unit_size
        first = max(0, start - step.start) // size
        last = -(-(min(stop, step.end) - step.start) // size)
        for unit in range(first, last, at_once):
            yield step.part(unit, min(unit + at_once, last))


def _make(step: Step, content: Gathered) -> bytes:
    """Return what a step adds to the file."""
    if step.kind == BYTES:
        return content.read(step.source, step.source_end)
    headers = _headers(step)
    if step.kind == ZEROS:
        return b"".join(header + b"\0" for (header,) in _RAW_HEADER.iter_unpack(headers))
    pages = content.read(step.source, step.source_end)
    pairs = zip(_RAW_HEADER.iter_unpack(headers), _PAGE.iter_unpack(pages), strict=True)
    return b"".join(part for (header,), (page,) in pairs for part in (header, page))


def _headers(step: Step) -> bytes:
    first, units = step.header, step.units
    return struct.pack(f">{units}Q", *range(first, first + units * PAGE_SIZE, PAGE_SIZE))
