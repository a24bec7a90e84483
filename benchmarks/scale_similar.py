"""How much deduplication samples lose against knowing every chunk, on data as images have it."""

from __future__ import annotations

import argparse
import os
import random
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from devops_snapshot.remote import connect
from devops_snapshot.store import FileSource, LayerKind, Repository
from devops_snapshot.store.cache import Cache
from devops_snapshot.store.dedup import chunk_index
from devops_snapshot.store.dedup.chunk_index import WINDOW, ChunkIndex
from devops_snapshot.store.dedup.pack_indexes import PackIndexes
from devops_snapshot.store.dedup.samples import SAMPLES, Sampler
from devops_snapshot.store.format.hashing import CHUNK_SIZE, digest

from .scale_repository import PACK_CHUNKS, make_pack

HEADERS = ("order of the files", "chunks in common", "found", "lost", "indexes", "fetched")
LEGEND = """\
In chunks of 64 KiB. An image consists of the large files of a real directory in some order, half of
them in a version that no other image has; lost: chunks that the repository has and that are sent
again; indexes: of packs, fetched while the image was exported; fetched: KiB of indexes."""

DISKS = ("export", "chunks", "sent, exact index", "sent, samples")
NEVER = -1  # chunks; no repository is small enough to be known as a whole


@dataclass(frozen=True)
class Orders:
    """Ways to lay out the files of an image; each keeps what lies together in a file together."""

    choose: random.Random

    def same(self, directories: Sequence[Sequence[str]]) -> Iterator[str]:
        return (name for directory in directories for name in directory)

    def directories_shuffled(self, directories: Sequence[Sequence[str]]) -> Iterator[str]:
        return self.same(self.choose.sample(directories, len(directories)))

    def files_shuffled(self, directories: Sequence[Sequence[str]]) -> Iterator[str]:
        names = list(self.same(directories))
        self.choose.shuffle(names)
        return iter(names)


def main() -> None:
    options = _options()
    if options.disks:
        print(tabulate(_compare(options.disks), headers=DISKS, tablefmt="rst"))
        return
    chunk_index.SMALL = NEVER
    rows = []
    for order in ("same", "directories_shuffled", "files_shuffled"):
        with tempfile.TemporaryDirectory(prefix="similar-") as directory:
            rows.append((order.replace("_", " "), *_measure(Path(directory), order, options)))
    print(tabulate(rows, headers=HEADERS, tablefmt="rst", disable_numparse=True))
    print(f"\n{LEGEND}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_similar", description=__doc__)
    parser.add_argument("--files", type=Path, default=Path("/usr"), help="where the files are")
    parser.add_argument("--images", type=int, default=20, help="in the repository beforehand")
    parser.add_argument("--shared", type=float, default=0.5, help="of the files, with all others")
    parser.add_argument(
        "--disks",
        nargs="+",
        metavar="FILE,...",
        help="instead: export real files one after another, each time as another machine",
    )
    return parser.parse_args()


def _compare(exports: Sequence[str]) -> list[tuple[str, int, int, int]]:
    """Export the same files into two repositories, each export by a client with an empty cache."""
    exact = _export_all(exports, chunk_index.SMALL)
    sampled = _export_all(exports, NEVER)
    return [
        (files, read, sent, sent_by_samples)
        for files, (read, sent), (_, sent_by_samples) in zip(exports, exact, sampled, strict=True)
    ]


def _export_all(exports: Sequence[str], small: int) -> list[tuple[int, int]]:
    """Return how many chunks each export has read and sent."""
    chunk_index.SMALL = small
    told = []
    with tempfile.TemporaryDirectory(prefix="similar-") as work:
        for number, files in enumerate(exports):
            os.environ["XDG_CACHE_HOME"] = f"{work}/cache-{number}"
            with (
                connect(f"file://{work}/repository") as remote,
                Repository.open(remote, create=True).writing() as session,
            ):
                for file in files.split(","):
                    with FileSource.open(Path(file)) as source:
                        session.add_layer(source, kind=LayerKind.OVERLAY)
                session.publish(b"{}", {})
            told.append((session.stats.chunks_read, session.stats.chunks_sent))
    return told


def _measure(work: Path, order: str, options: argparse.Namespace) -> tuple[str, ...]:
    choose = random.Random(7)
    directories, sizes = _find_files(options.files)
    orders = Orders(choose)

    def image(number: int) -> Iterator[bytes]:
        for name in getattr(orders, order)(directories):
            version = "shared" if choose.random() < options.shared else f"image {number}"
            yield from (digest(f"{name} {version} {n}".encode()) for n in range(sizes[name]))

    os.environ["XDG_CACHE_HOME"] = str(work / "cache")
    stored: set[bytes] = set()
    for number in range(options.images):
        _store(work / "repository", image(number), stored)
    new = list(image(options.images))
    with connect(f"file://{work}/repository") as remote:
        cache = Cache("similar")
        index = ChunkIndex(remote, PackIndexes(remote, cache))
        index.load()
        found = sum(
            _found(index, new[start : start + WINDOW]) for start in range(0, len(new), WINDOW)
        )
    common = sum(one in stored for one in new)
    indexes = [file for file in cache.directory.rglob("packs/*/*") if file.is_file()]
    return (
        f"{common} of {len(new)}",
        f"{found}",
        f"{1 - found / common:.1%}",
        f"{len(indexes)}",
        f"{sum(file.stat().st_size for file in indexes) >> 10}",
    )


def _found(index: ChunkIndex, window: Sequence[bytes]) -> int:
    index.prepare(window)
    return sum(index.find(one) is not None for one in window)


def _find_files(root: Path) -> tuple[list[list[str]], dict[str, int]]:
    """Return the names of files by directory, and how many chunks each has."""
    directories: list[list[str]] = []
    sizes: dict[str, int] = {}
    for directory, _, names in os.walk(root):
        paths = [Path(directory) / name for name in sorted(names)]
        large = {str(p): p.stat().st_size for p in paths if p.is_file() and not p.is_symlink()}
        large = {name: size // CHUNK_SIZE for name, size in large.items() if size >= CHUNK_SIZE}
        sizes |= large
        directories.append(list(large))
    return directories, sizes


def _store(repository: Path, image: Iterable[bytes], stored: set[bytes]) -> None:
    """Add what an exact index would send of an image, in its order."""
    new = [one for one in dict.fromkeys(image) if one not in stored]
    stored.update(new)
    lease, sampler = secrets.token_hex(16), Sampler()
    for number, start in enumerate(range(0, len(new), PACK_CHUNKS)):
        digests = b"".join(new[start : start + PACK_CHUNKS])
        make_pack(repository, f"{lease}-{number}", digests)
        sampler.add(f"{lease}-{number}", digests)
    (repository / SAMPLES).mkdir(parents=True, exist_ok=True)
    (repository / SAMPLES / lease).write_bytes(sampler.encode())


if __name__ == "__main__":
    main()
