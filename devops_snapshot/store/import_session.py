"""One import: the manifest and the layers of an export, every byte verified."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from .bounded import map_bounded
from .chunk_reader import ChunkReader, Span
from .condemned import Avoided
from .envelope import Envelope
from .hashing import CHUNK_SIZE, SEGMENT_CHUNKS
from .layer import Layer
from .layer_objects import find_layer
from .layer_reader import LayerReader
from .layer_sink import LayerSink
from .names import LayerId, pack_path
from .pack_indexes import PackIndexes
from .progress import Progress, no_progress

_WINDOW = 64 * SEGMENT_CHUNKS  # chunks that are planned together: 1 GiB of the file
_THREADS = max(4, os.cpu_count() or 1)


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


class ImportSession:
    """Reads one export; from :meth:`Repository.reading`. May be used by several threads."""

    def __init__(
        self, remote: Remote, indexes: PackIndexes, envelope: Envelope, *, avoid: Avoided
    ) -> None:
        self.manifest = envelope.manifest
        self._remote = remote
        self._indexes = indexes
        self._avoid = avoid
        self._layers = frozenset(envelope.layers)
        self._chunks = ChunkReader(remote, indexes)
        self._stats = RestoreStats()
        self._lock = threading.Lock()

    @property
    def stats(self) -> RestoreStats:
        """All restores of this session together."""
        return self._stats

    def layer(self, layer_id: LayerId) -> LayerReader:
        """Open a layer of this export for reading at any place.

        :raises NotFoundError: the export has no such layer
        :raises FormatError: the layer is damaged or missing
        """
        if layer_id not in self._layers:
            raise NotFoundError(f"This export has no layer {layer_id}")
        return LayerReader(
            find_layer(self._remote, layer_id, self._has_packs, self._avoid), self._chunks
        )

    def restore(
        self,
        layer_id: LayerId,
        sink: LayerSink,
        *,
        progress: Progress = no_progress,
    ) -> RestoreStats:
        """Write a whole layer to a sink.

        :param progress: called with the bytes of the file, holes too, done since last time
        :raises FormatError: a byte is not what was written; the sink is then to be thrown away
        """
        reader = self.layer(layer_id)
        sink.allocate(reader.size)
        stats = RestoreStats()
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="restore") as threads:
            for first in range(0, -(-reader.size // CHUNK_SIZE), _WINDOW):
                stats += _restore_window(reader, first, sink, threads, progress)
        with self._lock:
            self._stats += stats
        return stats

    def _has_packs(self, layer: Layer) -> bool:
        try:
            return all(
                self._remote.stat(pack_path(pack)).size == self._indexes.get(pack).size
                for pack in layer.packs
            )
        except (FormatError, NotFoundError):
            return False


def _restore_window(
    reader: LayerReader,
    first: int,
    sink: LayerSink,
    threads: ThreadPoolExecutor,
    progress: Progress,
) -> RestoreStats:
    """Restore the chunks from ``first`` to the end of its window; holes are done at once."""

    def restore_span(span: Span) -> RestoreStats:
        written = 0
        for offset, data in reader.fetch(span):
            sink.pwrite(offset, data)
            written += len(data)
        return RestoreStats(span.length, written)

    size = min(reader.size - first * CHUNK_SIZE, _WINDOW * CHUNK_SIZE)
    total = RestoreStats()
    for stats in map_bounded(restore_span, reader.plan(first, first + _WINDOW), threads):
        progress(stats.bytes_written)
        total += stats
    progress(size - total.bytes_written)
    return total
