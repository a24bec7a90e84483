"""Reading a layer as the file that it was made from."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ..bounded import map_bounded
from ..format.hashing import CHUNK_SIZE, HOLE, SEGMENT_CHUNKS, chunk_digest
from ..progress import Progress
from ..writing.layer_source import Extent, LayerSource
from .at_hand import AtHand, InPlace
from .chunk_reader import Span
from .known_layer import KnownLayer
from .layer_content import LayerContent
from .layer_sink import LayerSink

THREADS = max(4, os.cpu_count() or 1)
_WINDOW = 64 * SEGMENT_CHUNKS  # chunks that are planned together: 1 GiB of the file


@dataclass(frozen=True)
class RestoreStats:
    """What restoring layers has done.

    :param bytes_received: compressed, frames fetched from the repository
    :param bytes_written: plain, given to the sink; the rest are holes
    """

    bytes_received: int = 0
    bytes_written: int = 0

    def __add__(self, other: RestoreStats) -> RestoreStats:
        return RestoreStats(
            self.bytes_received + other.bytes_received, self.bytes_written + other.bytes_written
        )


class LayerReader(Protocol):
    """A file of an export, to be read at any place; a :class:`LayerSource` too."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    def extents(self) -> Iterator[Extent]:
        """Yield where data is; all else is zeros."""

    def pread(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``, fewer only at the end of the file.

        :raises FormatError: the repository is damaged there
        """

    def expect_restore(self) -> None:
        """Tell what :meth:`restore` will fetch, so that what is needed again is kept.

        :raises FormatError: the repository is damaged
        """

    def look_in(self, file: LayerSource) -> None:
        """Look for what is wanted in a file that was to become this one, or was it once."""

    def look_among(self, seeds: AtHand) -> None:
        """Look for chunks there, too, whatever file they were a part of."""

    def known(self) -> KnownLayer | None:
        """What can be kept of it, for other layers to be looked for in its file; None: too much.

        :raises FormatError: the repository is damaged
        """

    def restore(self, sink: LayerSink, progress: Progress) -> RestoreStats:
        """Write the whole file to a sink.

        :raises FormatError: a byte is not what was written; the sink is then to be thrown away
        """

    def is_in(self, file: LayerSource) -> bool:
        """Say whether a file is this one, byte for byte; it may be read by several threads.

        :raises FormatError: the repository is damaged
        """


class PlainReader:
    """A file whose chunks are the content of the layer."""

    def __init__(self, content: LayerContent) -> None:
        self._content = content

    @property
    def size(self) -> int:
        return self._content.size

    def extents(self) -> Iterator[Extent]:
        return self._content.extents()

    def pread(self, offset: int, length: int) -> bytes:
        return self._content.pread(offset, length)

    def expect_restore(self) -> None:
        for first in self._windows():
            self._content.expect([range(first, first + _WINDOW)])

    def look_in(self, file: LayerSource) -> None:
        self._content.look_in(InPlace(file))

    def look_among(self, seeds: AtHand) -> None:
        self._content.look_in(seeds)

    def known(self) -> KnownLayer | None:
        return KnownLayer.of(self._content.all_digests())

    def restore(self, sink: LayerSink, progress: Progress) -> RestoreStats:
        sink.allocate(self.size)
        before, written = self._content.bytes_received, 0
        with ThreadPoolExecutor(THREADS, thread_name_prefix="restore") as threads:
            for first in self._windows():
                written += self._restore_window(first, sink, threads, progress)
        return RestoreStats(self._content.bytes_received - before, written)

    def is_in(self, file: LayerSource) -> bool:
        if file.size != self.size:
            return False
        with ThreadPoolExecutor(THREADS, thread_name_prefix="compare") as threads:
            segments = range(-(-self.size // (CHUNK_SIZE * SEGMENT_CHUNKS)))
            with_data = _segments_of(file.extents())
            compare = partial(self._is_segment_in, file, with_data)
            return all(map_bounded(compare, segments, threads))

    def _is_segment_in(self, file: LayerSource, with_data: Container[int], number: int) -> bool:
        first = number * SEGMENT_CHUNKS
        stop = min(first + SEGMENT_CHUNKS, self._content.chunks)
        digests = self._content.digests(first, stop)
        if number not in with_data:
            return not digests
        for chunk in range(first, stop):
            offset = chunk * CHUNK_SIZE
            data = file.pread(offset, min(CHUNK_SIZE, self.size - offset))
            if chunk_digest(data) != digests.get(chunk, HOLE):
                return False
        return True

    def _windows(self) -> range:
        """The first chunk of each window."""
        return range(0, -(-self.size // CHUNK_SIZE), _WINDOW)

    def _restore_window(
        self, first: int, sink: LayerSink, threads: ThreadPoolExecutor, progress: Progress
    ) -> int:
        """Restore the chunks from ``first`` to the end of its window; holes are done at once."""

        def restore_span(span: Span) -> int:
            written = 0
            for offset, data in self._content.fetch(span):
                sink.pwrite(offset, data)
                written += len(data)
            return written

        size = min(self.size - first * CHUNK_SIZE, _WINDOW * CHUNK_SIZE)
        total = 0
        spans = self._content.plan([range(first, first + _WINDOW)])
        for written in map_bounded(restore_span, spans, threads):
            progress(written)
            total += written
        progress(size - total)
        return total


def _segments_of(extents: Iterable[Extent]) -> set[int]:
    """Return the numbers of the segments in which a file has data."""
    size = CHUNK_SIZE * SEGMENT_CHUNKS
    found: set[int] = set()
    for offset, length in extents:
        found.update(range(offset // size, -(-(offset + length) // size)))
    return found
