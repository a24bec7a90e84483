"""What ``benchmarks.storage`` measures of this project, as a process of its own.

::

   python benchmarks/storage_ours.py export URL FILE...
   python benchmarks/storage_ours.py import URL DIRECTORY
   python benchmarks/storage_ours.py send URL FILE...
   python benchmarks/storage_ours.py fetch URL NAME...
   python benchmarks/storage_ours.py export-generated URL BYTES
   python benchmarks/storage_ours.py import-generated URL
"""

from __future__ import annotations

import json
import random
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devops_snapshot.remote import connect
from devops_snapshot.store import Extent, FileSink, FileSource, LayerId, LayerKind, Repository

_BLOCK = 1 << 20  # bytes; what a pack is sent in
_CHUNK = 64 * 1024
_AT_ONCE = 2  # packs under way
_NUMBER = struct.Struct("<Q")


class Generated:
    """A file of chunks that all differ, but compress well together."""

    def __init__(self, size: int) -> None:
        self.size = size
        noise = random.Random(1)
        pieces = [noise.randbytes(16) + bytes(32) for _ in range(_CHUNK // 48 + 1)]
        self._rest = b"".join(pieces)[: _CHUNK - _NUMBER.size]

    def extents(self) -> Sequence[Extent]:
        return [Extent(0, self.size)]

    def pread(self, offset: int, length: int) -> bytes:
        numbers = range(offset // _CHUNK, (offset + length) // _CHUNK)
        return b"".join(_NUMBER.pack(number) + self._rest for number in numbers)


class Checked:
    """Takes what :class:`Generated` gave, and keeps nothing."""

    def allocate(self, size: int) -> None:
        self._expected = Generated(size)

    def pwrite(self, offset: int, data: bytes | memoryview) -> None:
        if data != self._expected.pread(offset, len(data)):
            raise AssertionError(f"other data at {offset}")


def export(url: str, *names: str) -> None:
    """Export files; the first is the base image of the others."""
    with connect(url) as remote, Repository.open(remote, create=True).writing() as session:
        layers = {}
        for name in names:
            with FileSource.open(name) as source:
                kind = LayerKind.OVERLAY if layers else LayerKind.BASE
                layers[Path(name).name] = session.add_layer(source, kind=kind, sealed=True)
        session.publish(json.dumps(layers).encode(), {})


def import_(url: str, directory: str) -> None:
    """Import all files of the latest export."""
    with connect(url) as remote:
        repository = Repository.open(remote)
        scratch = Path(directory)
        with repository.reading(repository.exports()[-1].id, scratch=scratch) as session:
            layers = json.loads(session.manifest)
            session.expect(layers.values())
            for name, layer in layers.items():
                with FileSink.create(Path(directory, name)) as sink:
                    session.restore(LayerId(layer), sink)


def send(url: str, *names: str) -> None:
    """Write files as they are, the way an export writes packs: each is durable in the end, and the
    next one is on its way while the storage node brings one to its disk."""
    with connect(url) as remote, ThreadPoolExecutor(_AT_ONCE) as threads:

        def write(name: str) -> None:
            target = Path(name).name
            remote.write(target, _blocks(Path(name)), staging=f"unfinished-{target}")

        list(threads.map(write, names))


def fetch(url: str, *names: str) -> None:
    """Read objects and forget them, in pieces as an import does."""
    with connect(url) as remote:
        for name in names:
            size = remote.stat(name).size
            for offset in range(0, size, 4 * _BLOCK):
                remote.read(name, offset, min(4 * _BLOCK, size - offset))


def export_generated(url: str, size: str) -> None:
    """Export a layer that fits on no disk."""
    with connect(url) as remote, Repository.open(remote, create=True).writing() as session:
        layer = session.add_layer(Generated(int(size)), kind=LayerKind.BASE)
        session.publish(layer.encode(), {})


def import_generated(url: str) -> None:
    """Import it, and see that every byte is right."""
    with connect(url) as remote:
        repository = Repository.open(remote)
        with repository.reading(repository.exports()[-1].id) as session:
            session.restore(LayerId(session.manifest.decode()), Checked())


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            yield block


_COMMANDS: Mapping[str, Callable[..., None]] = {
    "export": export,
    "import": import_,
    "send": send,
    "fetch": fetch,
    "export-generated": export_generated,
    "import-generated": import_generated,
}


def main(command: str, *arguments: str) -> None:
    _COMMANDS[command](*arguments)


if __name__ == "__main__":
    _arguments: Sequence[str] = sys.argv[1:]
    main(*_arguments)
