"""Files to export, and short ways to do so, for the tests of ``store``."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from devops_snapshot.remote import connect
from devops_snapshot.store import (
    FileSink,
    FileSource,
    ImportSession,
    LayerId,
    LayerKind,
    Repository,
    Stats,
)
from devops_snapshot.store.format.pack import decode_trailer, trailer_length

CHUNK = 65536
SEGMENT = 256 * CHUNK


@lru_cache(maxsize=8)
def noise(size: int, seed: int = 0) -> bytes:
    """Return bytes that do not compress and are the same each time."""
    return random.Random(seed).randbytes(size)


def make_file(path: Path, size: int, data: Mapping[int, bytes]) -> Path:
    """Make a sparse file with data at some offsets."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset, piece in data.items():
            file.seek(offset)
            file.write(piece)
    return path


def export(
    repository: Repository,
    *files: Path,
    kind: LayerKind = LayerKind.OVERLAY,
    manifest: bytes = b"{}",
) -> tuple[str, list[LayerId], Stats]:
    """Export files and return (export id, layer ids, statistics)."""
    with repository.writing() as session:
        layers = []
        for path in files:
            with FileSource.open(path) as source:
                layers.append(session.add_layer(source, kind=kind))
        session.publish(manifest, {"files": len(files)})
        return session.export_id, layers, session.stats


def restore(session: ImportSession, layer: LayerId, target: Path) -> Path:
    with FileSink.create(target) as sink:
        session.restore(layer, sink)
    return target


@contextmanager
def opened(directory: Path) -> Iterator[Repository]:
    """Open a repository in a local directory as a new client would."""
    with connect(f"file://{directory}") as remote:
        yield Repository.open(remote, create=True)


def objects(directory: Path, *kinds: str) -> list[Path]:
    """Return the objects of some kinds (``packs``, ``layers``, ...), or of all."""
    roots: Iterable[Path] = [directory / kind for kind in kinds] if kinds else [directory]
    return sorted(path for root in roots for path in root.rglob("*") if path.is_file())


def packed_chunks(directory: Path) -> Counter[bytes]:
    """Return how many packs hold a chunk, for the digests of all chunks."""
    count: Counter[bytes] = Counter()
    for path in objects(directory, "packs"):
        data = path.read_bytes()
        trailer = data[-trailer_length(data, str(path)) :]
        index = decode_trailer(path.name, trailer, str(path))
        count.update(index.digest(number) for number in range(len(index)))
    return count


def used(path: Path) -> int:
    """Bytes that a file takes on disk."""
    return path.stat().st_blocks * 512
