"""Files that were exported before and have not changed since: they need not be read again.

This machine remembers which layer a file became, together with the file's state before and after
it was read. Only a file that nobody writes to any more is remembered, and only when its times are
old enough that any later change shows in them. A file whose ctime alone differs was relabelled or
renamed (libvirt relabels disks whenever a guest starts), or somebody wrote to it and set its mtime
back. Then all data of the file must lie where the layer has chunks, and chunks at random places are
read and compared.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_right
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import accumulate

from ..dedup.pack_indexes import PackIndexes
from ..format.hashing import CHUNK_SIZE, chunk_digest
from ..format.layer import PLAIN, Layer
from ..format.names import LayerId, is_layer_id
from ..format.runs import Runs
from .file_state import FileState
from .layer_source import Extent, FileSource

SAMPLES = 64  # chunks: 4 MiB

_KIND = "file"
_KEPT = 10_000  # files


@dataclass(frozen=True)
class KnownFile:
    """A file as it was when it became a layer."""

    layer: LayerId
    state: FileState


class KnownFiles:
    """The files of this machine that a repository has, as far as this machine remembers."""

    def __init__(self, indexes: PackIndexes) -> None:
        self._indexes = indexes
        self._notes = indexes.cache.notes

    def find(self, state: FileState) -> KnownFile | None:
        """Return what is known of a file, unless size or mtime tell that it has changed."""
        known = _decode(self._notes.all(_KIND).get(state.file, b""))
        if known is None:
            return None
        same = (known.state.size, known.state.modified) == (state.size, state.modified)
        return known if same else None

    def remember(self, file: KnownFile) -> None:
        """Take note of a file that was settled before it was read and has not changed since."""
        self._notes.put(_KIND, {file.state.file: _encode(file)})
        names = list(self._notes.all(_KIND))
        self._notes.forget(_KIND, names[:-_KEPT])

    def seem_same(self, source: FileSource, layer: Layer) -> bool:
        """Compare the holes of a file, and its data at random places, with those of a layer.

        A file without holes may have zeros where the layer has holes: then these are among the
        places. Of one with holes all data must lie where the layer has chunks.
        """
        if layer.encoding != PLAIN or layer.size != source.size:
            return False
        if source.is_sparse and not _lie_within(source.extents(), layer.chunk_runs):
            return False
        places = _places(layer, holes=not source.is_sparse)
        return all(self._is_same(source, layer, number) for number in places)

    def _is_same(self, source: FileSource, layer: Layer, number: int) -> bool:
        """Compare one chunk, given by its number."""
        start = number * CHUNK_SIZE
        data = source.pread(start, min(CHUNK_SIZE, source.size - start))
        for run in layer.chunk_runs.within(number, number + 1):
            return chunk_digest(data) == self._indexes.get(layer.packs[run.pack]).digest(run.chunk)
        return not any(data)


def _lie_within(extents: Iterable[Extent], runs: Runs) -> bool:
    """Say whether runs cover all chunks in which there is data."""
    for extent in extents:
        first, stop = extent.offset // CHUNK_SIZE, -(-(extent.offset + extent.length) // CHUNK_SIZE)
        if sum(run.length for run in runs.within(first, stop)) != stop - first:
            return False
    return True


def _places(layer: Layer, *, holes: bool) -> list[int]:
    """Return the numbers of some chunks, ascending, of all or of those that are stored."""
    if holes:
        return sorted(random.sample(range(layer.chunks), min(SAMPLES, layer.chunks)))
    runs = list(layer.chunk_runs)
    ends = list(accumulate(run.length for run in runs))
    stored = ends[-1] if ends else 0
    places = sorted(random.sample(range(stored), min(SAMPLES, stored)))
    found = ((at, bisect_right(ends, at)) for at in places)
    return [runs[run].first + runs[run].length - (ends[run] - at) for at, run in found]


def _encode(known: KnownFile) -> bytes:
    return json.dumps({"layer": known.layer, **asdict(known.state)}).encode()


def _decode(data: bytes) -> KnownFile | None:
    """A note that makes no sense is none."""
    with suppress(ValueError, TypeError, KeyError):
        fields = json.loads(data)
        layer = fields.pop("layer")
        if is_layer_id(layer):
            return KnownFile(LayerId(layer), FileState(**fields))
    return None
