"""Samples: which packs hold one digest in 128, chosen by value.

Data that two files share mostly comes in longer runs, so a pack that holds a sampled digest of a
file is likely to hold its neighbours: its index is worth fetching. A sample takes 12 bytes, which
makes 1.4 bytes for a MiB of data. Samples are hints; what is missing or wrong in them costs
deduplication and nothing else.

``samples/<lease>[-<n>]`` is a sealed object whose body has three sections::

    S times  8  key: the first 8 bytes of a digest as a number; ascending
    S times  4  number of the pack in the table that follows
    P times 20  a pack: 16 bytes lease, 4 bytes number
"""

from __future__ import annotations

import logging
import mmap
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Entry, Remote

from ..batches import list_batches
from ..cache import Cache
from ..format.binary import from_bytes, to_bytes
from ..format.features import require_known
from ..format.hashing import DIGEST_SIZE
from ..format.jsontypes import JSON
from ..format.sealed import damaged, seal, unseal, unseal_head, well_formed

log = logging.getLogger(__name__)

SAMPLES = "samples"

RATE = 128  # digests of which one is sampled
FETCHED = 256 << 20  # bytes of samples that a client fetches at most, newest first
_MARKS = 256 // RATE  # values of the last byte of a digest that make it a sample
_KEY, _NUMBER, _PACK = 8, 4, struct.Struct("<16sI")
_PARALLEL = 4
_LONGEST_HEAD = 4096  # bytes
_NONE = -1
_DISTANCES = (1, -1, 2, -2)  # halved what was lost on the files of /usr, at 0.1 % more to fetch


def is_sampled(digest: bytes) -> bool:
    """Say whether a digest is one of the 1 in 128: the value decides, so all clients agree."""
    return digest[-1] < _MARKS


def key_of(digest: bytes) -> int:
    return int.from_bytes(digest[:_KEY], "little")


def sampled_keys(digests: bytes) -> Iterator[int]:
    """Yield the keys of those digests of a pack that are sampled."""
    marks = digests[DIGEST_SIZE - 1 :: DIGEST_SIZE]
    found = (number for number, mark in enumerate(marks) if mark < _MARKS)
    return (key_of(digests[n * DIGEST_SIZE : n * DIGEST_SIZE + _KEY]) for n in found)


class SampleTable:
    """The samples of one object, wherever its bytes are: in memory or in a mapped file.

    :param size: bytes of the object
    :ivar chunks: how many chunks its packs hold
    """

    def __init__(self, data: bytes | mmap.mmap, where: str) -> None:
        self.size = len(data)
        line = data[: min(len(data), _LONGEST_HEAD)].partition(b"\n")[0] + b"\n"
        head = unseal_head("samples", line, where)
        with well_formed(where):
            require_known(head["features"], where, "read")
            self.chunks = int(head["chunks"])
            samples, packs = int(head["samples"]), int(head["packs"])
        numbers = len(line) + samples * _KEY
        table = numbers + samples * _NUMBER
        if min(samples, packs) < 0 or table + packs * _PACK.size != len(data):
            raise damaged(where, "its sections have the wrong size")
        view = memoryview(data)
        self._keys = _numbers("Q", view[len(line) : numbers])
        self._numbers = _numbers("I", view[numbers:table])
        self._table = view[table:]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield (key, number of the pack), keys ascending."""
        return zip(self._keys, self._numbers, strict=True)

    def find(self, key: int) -> Iterator[str]:
        """Yield the packs that hold a chunk with that key."""
        at = bisect_left(self._keys, key)
        while at < len(self._keys) and self._keys[at] == key:
            number = self._numbers[at]
            if number < self.packs:
                yield self.pack(number)
            at += 1

    @property
    def packs(self) -> int:
        return len(self._table) // _PACK.size

    def pack(self, number: int) -> str:
        lease, own_number = _PACK.unpack_from(self._table, number * _PACK.size)
        return f"{lease.hex()}-{own_number}"


class Sampler:
    """Samples that are being gathered, to be looked up and to be written."""

    def __init__(self) -> None:
        self.packs: list[str] = []
        self._numbers: dict[int, int] = {}  # of the pack, by key
        self._chunks = 0

    @property
    def size(self) -> int:
        """Bytes that the object takes."""
        samples = len(self._numbers) * (_KEY + _NUMBER)
        return samples + len(self.packs) * _PACK.size + _LONGEST_HEAD

    def add(self, pack: str, digests: bytes) -> None:
        """Take in a pack, given the digests of its chunks."""
        if _fits(pack):
            self._numbers.update(dict.fromkeys(sampled_keys(digests), len(self.packs)))
            self.packs.append(pack)
            self._chunks += len(digests) // DIGEST_SIZE

    def add_table(self, table: SampleTable, takes: Callable[[str], bool]) -> None:
        """Take in those packs of an object for which ``takes`` is true."""
        numbers = array("q", [_NONE]) * table.packs
        for number in range(table.packs):
            pack = table.pack(number)
            if takes(pack):
                numbers[number] = len(self.packs)
                self.packs.append(pack)
                self._chunks += table.chunks // table.packs
        for key, number in table:
            if number < table.packs and numbers[number] != _NONE:
                self._numbers[key] = numbers[number]

    def find(self, key: int) -> Iterator[str]:
        """Yield a pack that holds a chunk with that key."""
        if key in self._numbers:
            yield self.packs[self._numbers[key]]

    def encode(self) -> bytes:
        """Return the sealed object."""
        keys = array("Q", sorted(self._numbers))
        numbers = array("I", map(self._numbers.__getitem__, keys))
        table = b"".join(_PACK.pack(*_split(pack)) for pack in self.packs)
        head: dict[str, JSON] = {
            "features": [],
            "packs": len(self.packs),
            "samples": len(keys),
            "chunks": self._chunks,
        }
        return seal("samples", head, to_bytes(keys) + to_bytes(numbers) + table)


def neighbours(pack: str) -> Iterator[str]:
    """Yield the names of the packs that the same export began just before and after a pack."""
    lease, _, number = pack.rpartition("-")
    for distance in _DISTANCES:
        if int(number) + distance >= 0:
            yield f"{lease}-{int(number) + distance}"


def _fits(pack: str) -> bool:
    """Say whether a pack's name fits into a table."""
    number = pack.rpartition("-")[2]
    return number == str(int(number)) and int(number) < 1 << 32


def _split(pack: str) -> tuple[bytes, int]:
    lease, _, number = pack.rpartition("-")
    return bytes.fromhex(lease), int(number)


def _numbers(typecode: Literal["Q", "I"], data: memoryview) -> Sequence[int]:
    """Numbers of 4 or 8 bytes where they are, if this machine has them so, too."""
    return data.cast(typecode) if sys.byteorder == "little" else from_bytes(typecode, bytes(data))


class Samples:
    """All samples of a repository, in files of the cache that are mapped and not read."""

    def __init__(self, tables: Iterable[SampleTable] = ()) -> None:
        self._tables = list(tables)

    @property
    def chunks(self) -> int:
        """How many chunks lie in the packs that were sampled."""
        return sum(table.chunks for table in self._tables)

    def find(self, key: int) -> Iterator[str]:
        """Yield the packs that hold a chunk with that key."""
        for table in self._tables:
            yield from table.find(key)

    @classmethod
    def load(cls, remote: Remote, cache: Cache) -> Samples:
        """Fetch what this machine does not have yet; objects that cannot be read are left out."""
        entries = _enough(list_batches(remote, SAMPLES))
        for path in cache.names(SAMPLES) - {f"{SAMPLES}/{entry.name}" for entry in entries}:
            cache.forget(path)
        with ThreadPoolExecutor(_PARALLEL) as threads:
            tables = threads.map(lambda entry: load_table(remote, cache, entry.name), entries)
            return cls(table for table in tables if table)


def load_table(remote: Remote, cache: Cache, name: str) -> SampleTable | None:
    """Return one object of samples, or None if it is gone or cannot be read."""
    path = f"{SAMPLES}/{name}"
    where = f"Object {path}"
    try:
        file = cache.file(path)
        table = _mapped(file, where) if file else None
        if table:
            return table
        data = remote.read(path)
        unseal("samples", data, where)
        cache.put(path, data)
        file = cache.file(path)
        return (_mapped(file, where) if file else None) or SampleTable(data, where)
    except NotFoundError:  # merged meanwhile
        return None
    except FormatError as error:
        log.warning("%s; some data may be sent again", error.message)
        return None


def _mapped(file: Path, where: str) -> SampleTable | None:
    """A table in a file that was checked when it was fetched; None if it can't be used."""
    try:
        with file.open("rb") as opened:
            return SampleTable(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ), where)
    except (OSError, ValueError, FormatError):
        return None


def _enough(newest: Iterable[Entry]) -> list[Entry]:
    """What a client fetches of all there is."""
    found, size = [], 0
    for entry in newest:
        size += entry.size
        if size <= FETCHED:
            found.append(entry)
    return found
