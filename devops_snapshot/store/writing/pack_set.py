"""The packs that an export fills: one open pack for each kind of layer."""

from __future__ import annotations

import itertools
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from ..dedup.chunk_index import ChunkIndex
from ..dedup.chunk_table import Place
from ..format.hashing import Data
from ..format.pack import LayerKind
from ..lease import Lease
from .pack_writer import PackWriter

_DRAINING = 2  # full packs that may still be on their way while the next ones fill


class PackSet:
    """Stores chunks that the repository lacks. For one thread."""

    def __init__(self, lease: Lease, index: ChunkIndex) -> None:
        self._lease = lease
        self._index = index
        self._names = (f"{lease.id}-{number}" for number in itertools.count())
        self._open: dict[LayerKind, tuple[int, PackWriter]] = {}
        self._draining: deque[tuple[int, PackWriter]] = deque()
        self._compress = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="compress")
        self._send = ThreadPoolExecutor(len(LayerKind) + _DRAINING, thread_name_prefix="send")
        self._bytes_finished = 0

    @property
    def bytes_sent(self) -> int:
        """Bytes of packs that are on the storage node or on their way."""
        writers = [writer for _, writer in [*self._open.values(), *self._draining]]
        return self._bytes_finished + sum(writer.bytes_sent for writer in writers)

    def store(self, digest: bytes, data: Data, kind: LayerKind, *, segment: bool = False) -> Place:
        """Append a chunk to the open pack of its kind and return where it will lie.

        :param segment: it is a segment: those lie in frames of their own
        """
        number, writer = self._open.get(kind) or self._start(kind)
        writer.add(digest, data, segment=segment)
        place = self._index.add(digest, number)
        if writer.is_full():
            self._drain(kind)
        return place

    def finish(self) -> None:
        """Wait until every pack is durable."""
        for kind in list(self._open):
            self._drain(kind)
        while self._draining:
            self._finish_oldest()

    def close(self) -> None:
        """End all threads; packs that are not finished vanish."""
        for _, writer in [*self._open.values(), *self._draining]:
            writer.cancel()
        self._compress.shutdown(cancel_futures=True)
        self._send.shutdown(cancel_futures=True)

    def _start(self, kind: LayerKind) -> tuple[int, PackWriter]:
        name = next(self._names)
        writer = PackWriter(self._lease, name, kind, compress=self._compress, send=self._send)
        self._open[kind] = self._index.open_pack(name), writer
        return self._open[kind]

    def _drain(self, kind: LayerKind) -> None:
        number, writer = self._open.pop(kind)
        self._draining.append((number, writer))
        writer.end()
        while len(self._draining) > _DRAINING:
            self._finish_oldest()

    def _finish_oldest(self) -> None:
        number, writer = self._draining[0]
        index = writer.finish()
        self._draining.popleft()
        self._index.close_pack(index, number)
        self._bytes_finished += index.size
