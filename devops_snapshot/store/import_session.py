"""One import: the manifest and the layers of an export, every byte verified."""

from __future__ import annotations

import threading

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from .collection.condemned import Avoided
from .dedup.pack_indexes import PackIndexes
from .format.envelope import Envelope
from .format.layer import Layer
from .format.names import LayerId, pack_path
from .progress import Progress, no_progress
from .ram.reader import RamReader
from .reading.chunk_reader import ChunkReader
from .reading.layer_content import LayerContent
from .reading.layer_objects import find_layers
from .reading.layer_reader import LayerReader, PlainReader, RestoreStats
from .reading.layer_sink import LayerSink


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
        layers = find_layers(self._remote, layer_id, self._has_packs, self._avoid)
        content, origin = LayerContent(layers, self._chunks), layers[0].origin
        return PlainReader(content) if origin is None else RamReader(content, origin)

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
        stats = self.layer(layer_id).restore(sink, progress)
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
