"""Which chunks the repository has already, as far as an export can know in bounded memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Entry, Remote

from .chunk_table import Place
from .known_chunks import KnownChunks
from .names import PACKS, is_pack_name, pack_path
from .pack import PackIndex
from .pack_indexes import PackIndexes

log = logging.getLogger(__name__)

WINDOW = 1024  # digests that are prepared together
_PARALLEL = 4  # listings and indexes fetched at the same time


class ChunkIndex:
    """Finds chunks in packs that exist, and in those of the running export.

    For several threads. A lease must be held from before this is made: a pack is relied upon only
    if it was seen since then, with the size that its index tells.

    :param avoid: names of packs not to be relied upon: they are condemned or damaged
    """

    def __init__(
        self, remote: Remote, indexes: PackIndexes, *, avoid: Collection[str] = frozenset()
    ) -> None:
        self._remote = remote
        self._indexes = indexes
        self._avoid = avoid
        self._known = KnownChunks()
        self._packs: list[str] = []
        self._numbers: dict[str, int] = {}
        self._sizes: dict[str, int] = {}  # of packs that were listed
        self._seen: dict[str, bool] = {}
        self._unfinished: dict[int, bytearray] = {}
        self._lock = threading.RLock()

    def load(self, related: Sequence[str] = ()) -> None:
        """Learn what is likely to be of use.

        :param related: ids of exports that resemble the one to come, most alike first
        """
        with ThreadPoolExecutor(_PARALLEL) as threads:
            packs = list_packs(self._remote, threads)
            self._indexes.forget_all_but({pack.name for pack in packs})
            self._sizes = {pack.name: pack.size for pack in packs}
            for index in threads.map(self._readable, self._sizes):
                if index:
                    self._learn(index)

    @property
    def packs(self) -> list[str]:
        """The names that the numbers in places stand for."""
        return self._packs

    def prepare(self, digests: Sequence[bytes]) -> None:
        """Learn where the chunks of a window may lie, before :meth:`find` is asked for them.

        May run in another thread while chunks of an earlier window are found and added.

        :param digests: at most :data:`WINDOW`, in the order of the file
        """

    def find(self, digest: bytes) -> Place | None:
        """Return where a chunk lies, or None if the repository is not known to have it."""
        with self._lock:
            return self._known.find(digest)

    def seen(self, pack: str) -> bool:
        """Say whether a pack may be relied upon: it is whole and nobody is about to remove it."""
        known = self._seen.get(pack)
        return self._readable(pack) is not None if known is None else known

    def open_pack(self, pack: str) -> int:
        """Make the chunks of a pack that is being written known as they are added."""
        with self._lock:
            number = self._number(pack)
            self._unfinished[number] = bytearray()
            return number

    def add(self, digest: bytes, pack: int) -> Place:
        """Append a chunk to an open pack."""
        with self._lock:
            digests = self._unfinished[pack]
            digests += digest
            return self._known.add(pack, digests)

    def close_pack(self, index: PackIndex, number: int) -> None:
        """Take note that a pack is durable."""
        self._indexes.put(index)
        with self._lock:
            self._seen[index.pack] = True
            del self._unfinished[number]

    def _learn(self, index: PackIndex) -> None:
        with self._lock:
            self._known.add_pack(self._number(index.pack), index.digests)

    def _number(self, pack: str) -> int:
        if pack not in self._numbers:
            self._numbers[pack] = len(self._packs)
            self._packs.append(pack)
        return self._numbers[pack]

    def _readable(self, pack: str) -> PackIndex | None:
        """Return the index of a pack that may be relied upon."""
        index = None if pack in self._avoid else self._checked(pack)
        with self._lock:
            self._seen[pack] = index is not None
        return index

    def _checked(self, pack: str) -> PackIndex | None:
        try:
            size = self._sizes.get(pack) or self._remote.stat(pack_path(pack)).size
            return self._indexes.load(pack, size)
        except NotFoundError:
            return None
        except FormatError as error:
            log.warning("%s; its chunks are sent again", error.message)
            return None


def list_packs(remote: Remote, threads: ThreadPoolExecutor) -> list[Entry]:
    """Return all packs of a repository."""
    directories = [f"{PACKS}/{entry.name}" for entry in remote.list(PACKS) if entry.is_directory]
    listings: Iterable[list[Entry]] = threads.map(remote.list, directories)
    return [entry for listing in listings for entry in listing if is_pack_name(entry.name)]
