"""One import: the manifest and the layers of an export, every byte verified."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from .collection.condemned import Avoided
from .dedup.pack_indexes import PackIndexes
from .format.envelope import Envelope
from .format.layer import Layer
from .format.names import LayerId, pack_path
from .progress import Progress, no_progress
from .ram.reader import RamReader
from .reading.at_hand import AtHand
from .reading.chunk_reader import ChunkReader
from .reading.kept_frames import KeptFrames
from .reading.layer_content import LayerContent
from .reading.layer_objects import find_layers
from .reading.layer_reader import THREADS, LayerReader, PlainReader, RestoreStats
from .reading.layer_sink import LayerSink
from .writing.layer_source import LayerSource

log = logging.getLogger(__name__)

_MOST_RUNS = 1 << 20  # of layers in memory, 20 bytes each


class ImportSession:
    """Reads one export; from :meth:`Repository.reading`. May be used by several threads."""

    def __init__(
        self,
        remote: Remote,
        indexes: PackIndexes,
        envelope: Envelope,
        *,
        avoid: Avoided,
        kept: KeptFrames,
    ) -> None:
        self.manifest = envelope.manifest
        self._remote = remote
        self._indexes = indexes
        self._avoid = avoid
        self._layers = frozenset(envelope.layers)
        self._kept = kept
        self._chunks = ChunkReader(remote, indexes, kept)
        self._expected: Counter[LayerId] = Counter()
        self._found: dict[LayerId, list[Layer]] = {}
        self._found_runs = 0
        self._bytes_written = 0
        self._lock = threading.Lock()

    @property
    def stats(self) -> RestoreStats:
        """What this session has received for its layers, and written."""
        return RestoreStats(self._chunks.bytes_received, self._bytes_written)

    def layer(self, layer_id: LayerId) -> LayerReader:
        """Open a layer of this export for reading at any place.

        :raises NotFoundError: the export has no such layer
        :raises FormatError: the layer is damaged or missing
        """
        if layer_id not in self._layers:
            raise NotFoundError(f"This export has no layer {layer_id}")
        layers = self._find(layer_id)
        content, origin = LayerContent(layers, self._chunks), layers[0].origin
        return PlainReader(content) if origin is None else RamReader(content, origin)

    def expect(self, layers: Iterable[LayerId]) -> None:
        """Tell which layers will be restored, each as often as it is named.

        What several of them need travels once then. It is kept on this host meanwhile, where the
        layers leave room for it. Damage of packs is left for a restore to find.

        :raises NotFoundError: the export has no such layer
        :raises FormatError: a layer is damaged or missing
        """
        size = 0
        for layer_id in layers:
            reader = self.layer(layer_id)
            size += sum(extent.length for extent in reader.extents())
            self._load_indexes(layer_id)
            try:
                reader.expect_restore()
            except FormatError as error:
                log.debug("%s", error)
            with self._lock:
                self._expected[layer_id] += 1
        self._kept.leave_room(size)

    def restore(
        self,
        layer_id: LayerId,
        sink: LayerSink,
        *,
        progress: Progress = no_progress,
        at_hand: Iterable[LayerSource] = (),
        seeds: AtHand | None = None,
    ) -> RestoreStats:
        """Write a whole layer to a sink.

        :param progress: called with the bytes of the file, holes too, done since last time
        :param at_hand: files of this host of which parts may be the same, in the same place, such
            as one that was restored in part; several threads read them, and nothing in them is
            believed. What one of them has is not fetched
        :param seeds: other layers that may have some of the same chunks; likewise
        :raises FormatError: a byte is not what was written; the sink is then to be thrown away
        """
        with self._lock:
            is_expected = self._expected[layer_id] > 0
        if not is_expected:
            self.expect([layer_id])
        reader = self.layer(layer_id)
        for file in at_hand:
            reader.look_in(file)
        if seeds is not None:
            reader.look_among(seeds)
        stats = reader.restore(sink, progress)
        with self._lock:
            self._expected[layer_id] -= 1
            self._bytes_written += stats.bytes_written
        return stats

    def _find(self, layer_id: LayerId) -> list[Layer]:
        """Return the objects of a layer, from memory if they were read before."""
        with self._lock:
            found = self._found.get(layer_id)
        if found is None:
            found = find_layers(self._remote, layer_id, self._has_packs, self._avoid)
            runs = sum(len(layer.chunk_runs) for layer in found)
            with self._lock:
                if self._found_runs + runs <= _MOST_RUNS:
                    self._found[layer_id] = found
                    self._found_runs += runs
        return found

    def _load_indexes(self, layer_id: LayerId) -> None:
        """Have the indexes of a layer's packs here, several being fetched at the same time."""

        def load(pack: str) -> None:
            with suppress(FormatError):
                self._indexes.get(pack)

        with ThreadPoolExecutor(THREADS, thread_name_prefix="index") as threads:
            list(threads.map(load, self._find(layer_id)[0].packs))

    def _has_packs(self, layer: Layer) -> bool:
        try:
            return all(
                self._remote.stat(pack_path(pack)).size == self._indexes.get(pack).size
                for pack in layer.packs
            )
        except (FormatError, NotFoundError):
            return False
