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

from .blocks import Block, digests_of, hashed_windows
from .bounded import ahead
from .chunk_index import ChunkIndex
from .chunk_table import Place
from .condemned import Avoided
from .envelope import encode_envelope
from .hashing import CHUNK_SIZE, Data
from .jsontypes import JSON
from .layer import Layer, encode_layer, with_own_packs
from .layer_builder import LayerBuilder, Tally
from .layer_objects import readable_layers
from .layer_source import LayerSource
from .lease import Lease
from .names import LayerId, export_path, layer_path
from .pack import LayerKind
from .pack_set import PackSet
from .progress import Progress, no_progress, scaled
from .ram import ram_source

_WINDOWS_AHEAD = 2


@dataclass(frozen=True)
class Stats:
    """What an export has done so far.

    :param bytes_read: plain, of the files added, without holes that were skipped
    :param bytes_sent: compressed, everything written to the storage node
    :param bytes_deduplicated: plain, of chunks that the repository had already
    :param bytes_zero: plain, of chunks read that were all zeros and need no room
    """

    bytes_read: int = 0
    bytes_sent: int = 0
    bytes_deduplicated: int = 0
    bytes_zero: int = 0
    chunks_read: int = 0
    chunks_sent: int = 0
    chunks_deduplicated: int = 0


class ExportSession:
    """Writes one export; from :meth:`Repository.writing`. May be used by several threads."""

    def __init__(
        self, remote: Remote, lease: Lease, index: ChunkIndex, packs: PackSet, *, avoid: Avoided
    ) -> None:
        started = datetime.now(timezone.utc)
        self.export_id = f"{started:%Y%m%dT%H%M%SZ}-{lease.id[:8]}"
        self._remote = remote
        self._lease = lease
        self._index = index
        self._packs = packs
        self._avoid = avoid
        self._layers: dict[LayerId, Layer] = {}  # with pack numbers of the index
        self._tally = Tally()
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
        progress: Progress = no_progress,
    ) -> LayerId:
        """Store a file and return the id that the manifest may name.

        :param parent: the layer that this one lies on, added to this export before
        :param progress: called with the bytes of the file, holes too, done since last time
        """
        ram = ram_source(source) if kind is LayerKind.MEMORY else None
        with self._lock:
            if parent is not None and parent not in self._layers:
                raise NotFoundError(f"Layer {parent} is not part of this export")
            if ram is None:
                layer = self._build(source, kind, parent, progress)
            else:
                told = scaled(progress, size=ram.size, to=source.size)
                layer = replace(self._build(ram, kind, parent, told), origin=ram.origin)
            return self._layers.setdefault(layer.id, layer).id

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
            for layer in self._layers.values():
                self._write_layer(layer)
            envelope = encode_envelope(
                export_id=self.export_id,
                published=datetime.now(timezone.utc),
                layers=sorted(self._layers),
                summary=summary,
                manifest=manifest,
                keep=keep,
            )
            path = export_path(self.export_id)
            self._bytes_of_objects += self._lease.publish(path, envelope)
            self._index.published(self._lease)

    def _build(
        self,
        source: LayerSource,
        kind: LayerKind,
        parent: LayerId | None,
        progress: Progress,
    ) -> Layer:
        builder = LayerBuilder(partial(self._keep, kind), self._tally)
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

    def _keep(self, kind: LayerKind, digest: bytes, data: Data) -> tuple[Place, bool]:
        place = self._index.find(digest)
        if place:
            return place, False
        return self._packs.store(digest, data, kind), True

    def _write_layer(self, layer: Layer) -> None:
        """Write a layer object, unless one is there that may be relied upon, as all its packs."""
        for found in readable_layers(self._remote, layer.id, avoid=self._avoid.layers):
            if all(map(self._index.seen, found.packs)):
                return
        self._write(layer_path(layer.id, self._lease.id), encode_layer(with_own_packs(layer)))

    def _write(self, path: str, data: bytes) -> None:
        self._bytes_of_objects += self._lease.write(path, [data])
