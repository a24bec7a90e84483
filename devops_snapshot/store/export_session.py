"""One export: layers are stored as they are added, and the manifest is published last."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial

from devops_snapshot.errors import NotFoundError
from devops_snapshot.remote import Remote

from .bounded import ahead
from .collection.condemned import Avoided
from .dedup.chunk_index import ChunkIndex
from .dedup.chunk_table import Place
from .format.envelope import encode_envelope
from .format.hashing import CHUNK_SIZE, Data
from .format.jsontypes import JSON
from .format.layer import Layer, encode_layer, with_own_packs
from .format.names import LayerId, export_path, layer_path
from .format.pack import LayerKind
from .lease import Lease
from .progress import Progress, no_progress, scaled
from .ram import ram_source
from .reading.layer_objects import readable_layers
from .writing.allocator import keep_blocks
from .writing.blocks import Block, digests_of, hashed_windows
from .writing.file_state import FileState
from .writing.known_files import KnownFile, KnownFiles
from .writing.layer_builder import LayerBuilder, Tally
from .writing.layer_source import FileSource, LayerSource
from .writing.pack_set import PackSet

_WINDOWS_AHEAD = 2
_PARALLEL = 4  # packs looked at at the same time


@dataclass(frozen=True)
class Stats:
    """What an export has done so far.

    :param bytes_read: plain, of the files added, without holes that were skipped
    :param bytes_sent: compressed, everything written to the storage node
    :param bytes_deduplicated: plain, of chunks that the repository had already
    :param bytes_zero: plain, of chunks read that were all zeros and need no room
    :param bytes_unread: plain, of files that the repository has and that have not changed since
    """

    bytes_read: int = 0
    bytes_sent: int = 0
    bytes_deduplicated: int = 0
    bytes_zero: int = 0
    chunks_read: int = 0
    chunks_sent: int = 0
    chunks_deduplicated: int = 0
    bytes_unread: int = 0
    layers_unread: int = 0


class ExportSession:
    """Writes one export; from :meth:`Repository.writing`. May be used by several threads."""

    def __init__(
        self,
        remote: Remote,
        lease: Lease,
        index: ChunkIndex,
        packs: PackSet,
        *,
        export_id: str,
        avoid: Avoided,
        known_files: KnownFiles,
    ) -> None:
        keep_blocks()
        self.export_id = export_id
        self._remote = remote
        self._lease = lease
        self._index = index
        self._packs = packs
        self._avoid = avoid
        self._known_files = known_files
        self._layers: dict[LayerId, bytes | None] = {}  # objects to be written, if there is none
        self._tally = Tally()
        self._seen_files: list[KnownFile] = []  # to be remembered once they are exported
        self._bytes_of_objects = 0
        self._lock = threading.Lock()

    @property
    def stats(self) -> Stats:
        return Stats(
            bytes_sent=self._bytes_of_objects + self._packs.bytes_sent, **vars(self._tally)
        )

    def add_layer(
        self,
        source: LayerSource,
        *,
        kind: LayerKind,
        parent: LayerId | None = None,
        sealed: bool = False,
        progress: Progress = no_progress,
    ) -> LayerId:
        """Store a file and return the id that the manifest may name.

        :param parent: the layer that this one lies on, added to this export before
        :param sealed: nobody writes to the file any more, so it is not read if it was before
        :param progress: called with the bytes of the file, holes too, done since last time
        """
        with self._lock:
            if parent is not None and parent not in self._layers:
                raise NotFoundError(f"Layer {parent} is not part of this export")
            if sealed and isinstance(source, FileSource):
                return self._add_sealed(source, kind, parent, progress)
            return self._add(source, kind, parent, progress)

    def publish(
        self, manifest: bytes, summary: Mapping[str, JSON], keep: timedelta | None = None
    ) -> None:
        """Make the export exist.

        :param manifest: given back as it is by :meth:`Repository.manifest`
        :param summary: what a listing shows
        :param keep: for how long; otherwise the repository's own setting counts
        :raises StorageError: anything is not durable on the storage node
        """
        with self._lock:
            self._packs.finish()
            self._index.write_samples(self._lease)
            for layer_id, layer in self._layers.items():
                if layer is not None:
                    self._write_layer(layer_id, layer)
            envelope = encode_envelope(
                export_id=self.export_id,
                published=datetime.now(timezone.utc),
                layers=sorted(self._layers),
                summary=summary,
                manifest=manifest,
                data=self._tally.data,
                keep=keep,
            )
            path = export_path(self.export_id)
            self._bytes_of_objects += self._lease.publish(path, envelope)
            self._index.published(self._lease)
            for file in self._seen_files:
                self._known_files.remember(file)

    def _add_sealed(
        self, source: FileSource, kind: LayerKind, parent: LayerId | None, progress: Progress
    ) -> LayerId:
        """Add a file that may be known from before."""
        before = source.state()
        was_settled = before is not None and before.is_settled()
        layer_id = self._recognise(source, before) if before else None
        if layer_id is not None:
            self._layers.setdefault(layer_id, None)
            self._tally.layers_unread += 1
            self._tally.bytes_unread += sum(extent.length for extent in source.extents())
            progress(source.size)
        else:
            layer_id = self._add(source, kind, parent, progress)
        if before and was_settled and source.state() == before:
            self._seen_files.append(KnownFile(layer_id, before))
        return layer_id

    def _recognise(self, source: FileSource, state: FileState) -> LayerId | None:
        """Return the layer that a file is, if the repository has it and that is beyond doubt."""
        known = self._known_files.find(state)
        layer = self._find_layer(known.layer) if known else None
        if known is None or layer is None:
            return None
        if known.state != state and not self._known_files.seem_same(source, layer):
            return None
        return known.layer if source.state() == state else None

    def _add(
        self, source: LayerSource, kind: LayerKind, parent: LayerId | None, progress: Progress
    ) -> LayerId:
        """Add a file by reading it."""
        ram = ram_source(source) if kind is LayerKind.MEMORY else None
        if ram is None:
            layer = self._build(source, kind, parent, progress)
        else:
            told = scaled(progress, size=ram.size, to=source.size)
            layer = replace(self._build(ram, kind, parent, told), origin=ram.origin)
        layer_id = layer.id
        if layer_id not in self._layers:
            self._layers[layer_id] = encode_layer(with_own_packs(layer))
        return layer_id

    def _build(
        self,
        source: LayerSource,
        kind: LayerKind,
        parent: LayerId | None,
        progress: Progress,
    ) -> Layer:
        keep_segment = partial(self._keep, kind, segment=True)
        builder = LayerBuilder(partial(self._keep, kind), keep_segment, self._tally)
        done = 0
        for window in self._prepared_windows(source):
            for block in window:
                builder.add(block)
                progress(block.end - done)
                done = block.end
        builder.skip_to(-(-source.size // CHUNK_SIZE))
        builder.finish()
        progress(source.size - done)
        return Layer(
            size=source.size,
            segments=bytes(builder.segments),
            packs=self._index.packs,
            chunk_runs=builder.chunk_runs,
            segment_runs=builder.segment_runs,
            parent=parent,
        )

    def _prepared_windows(self, source: LayerSource) -> Iterator[list[Block]]:
        """Read, hash and look up, ahead of what is being stored."""
        with (
            ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="hash") as hash_threads,
            ThreadPoolExecutor(1, thread_name_prefix="read") as read_thread,
        ):
            windows = map(self._prepare, hashed_windows(source, hash_threads))
            yield from ahead(windows, read_thread, under_way=_WINDOWS_AHEAD)

    def _prepare(self, window: list[Block]) -> list[Block]:
        self._index.prepare(digests_of(window))
        return window

    def _keep(
        self, kind: LayerKind, digest: bytes, data: Data, *, segment: bool = False
    ) -> tuple[Place, bool]:
        place = self._index.find(digest)
        if place:
            return place, False
        return self._packs.store(digest, data, kind, segment=segment), True

    def _write_layer(self, layer_id: LayerId, layer: bytes) -> None:
        """Write a layer object, unless one is there that may be relied upon."""
        if self._find_layer(layer_id) is None:
            self._write(layer_path(layer_id, self._lease.id), layer)

    def _find_layer(self, layer_id: LayerId) -> Layer | None:
        """Return a layer of the repository that may be relied upon, as all its packs."""
        with ThreadPoolExecutor(_PARALLEL) as threads:
            for layer in readable_layers(self._remote, layer_id, avoid=self._avoid.layers):
                if all(threads.map(self._index.seen, layer.packs)):
                    return layer
        return None

    def _write(self, path: str, data: bytes) -> None:
        self._bytes_of_objects += self._lease.write(path, [data])
