"""Which chunks the repository has already, as far as an export can know in bounded memory.

A small repository is known as a whole. Of a large one those packs are known that are likely to be
of use: of exports of this machine that were cut off, of exports that resemble this one, and, while
the export runs, those that hold a sampled digest of its data.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from devops_snapshot.errors import FormatError, NotFoundError, StorageError
from devops_snapshot.remote import Remote

from ..bounded import map_bounded
from ..collection.inventory import list_packs
from ..format.names import pack_path
from ..format.pack import PackIndex
from ..lease import Lease
from .chunk_table import Place
from .known_chunks import KnownChunks
from .own_packs import OwnPacks
from .pack_indexes import PackIndexes
from .related import related_packs
from .sample_merge import merge_if_many
from .samples import SAMPLES, Samples, is_sampled, key_of, neighbours

log = logging.getLogger(__name__)

WINDOW = 1024  # digests that are prepared together
SMALL = 500_000  # chunks; a repository of fewer is known as a whole
_PACKS_AT_ONCE = 16  # packs that one window may add, those with most of its samples first
_PARALLEL = 4  # listings and indexes fetched at the same time


class ChunkIndex:
    """Finds chunks in packs that exist, and in those of the running export.

    For several threads. A lease must be held from before this is made: a pack is relied upon only
    if it was seen since then, with the size that its index tells.

    :param avoid: names of packs that are not to be relied upon
    """

    def __init__(
        self, remote: Remote, indexes: PackIndexes, *, avoid: Collection[str] = frozenset()
    ) -> None:
        self._remote = remote
        self._indexes = indexes
        self._avoid = avoid
        self._known = KnownChunks()
        self._samples = Samples()
        self._own = OwnPacks(remote, indexes.cache)
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
        self._samples = Samples.load(self._remote, self._indexes.cache)
        with ThreadPoolExecutor(_PARALLEL) as threads:
            self._adopt(threads)
            if self._samples.chunks <= SMALL:
                self._learn_some(self._list(threads), threads)
            else:
                self._learn_some(related_packs(self._remote, related), threads)

    @property
    def packs(self) -> list[str]:
        """The names that the numbers in places stand for."""
        return self._packs

    def prepare(self, digests: Sequence[bytes]) -> None:
        """Learn where the chunks of a window may lie, before :meth:`find` is asked for them.

        May run in another thread while chunks of an earlier window are found and added.

        :param digests: at most :data:`WINDOW`, in the order of the file
        """
        hits: Counter[str] = Counter()
        for digest in filter(is_sampled, digests):
            hits.update(set(self._holders(digest)))
        for pack in list(hits):
            hits.update(dict.fromkeys(neighbours(pack), 0))  # as likely, but not known to be
        lacking = (pack for pack, _ in hits.most_common() if self._lacks(pack))
        wanted = list(islice(lacking, _PACKS_AT_ONCE))
        if len(wanted) > 1:
            with ThreadPoolExecutor(_PARALLEL) as threads:
                indexes = list(threads.map(self._readable, wanted))
        else:
            indexes = [self._readable(pack) for pack in wanted]
        for index in filter(None, indexes):
            self._learn(index)

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
        self._own.begin(pack)
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
            self._own.add(index)
            self._seen[index.pack] = True
            del self._unfinished[number]

    def write_samples(self, lease: Lease) -> None:
        """Let other clients find what this one has stored; call it before the export exists."""
        sampler = self._own.sampler
        if sampler.packs:
            lease.write(f"{SAMPLES}/{lease.id}", [sampler.encode()])

    def published(self, lease: Lease) -> None:
        """Call this when the export exists: from now on its packs are like those of others."""
        try:
            self._own.published()
            merge_if_many(lease, self._remote, self._indexes)
        except StorageError as error:
            log.info("Not tidied up after the export: %s", error)

    def _adopt(self, threads: ThreadPoolExecutor) -> None:
        """Take over what exports of this machine have left that were cut off."""
        for index in map_bounded(self._readable, self._own.cut_off(), threads):
            if index:
                self._own.add(index)
                self._learn_if_room(index)

    def _learn_some(self, packs: Iterable[str], threads: ThreadPoolExecutor) -> None:
        """Learn packs until memory is full."""
        unknown = (pack for pack in packs if pack not in self._numbers)
        for index in map_bounded(self._readable, unknown, threads):
            if index and not self._learn_if_room(index):
                return

    def _learn_if_room(self, index: PackIndex) -> bool:
        has_room = len(index) <= self._known.room()
        if has_room:
            self._learn(index)
        return has_room

    def _list(self, threads: ThreadPoolExecutor) -> Iterator[str]:
        """Return all packs, newest first."""
        packs = list_packs(self._remote, threads)
        self._indexes.forget_all_but({pack.name for pack in packs})
        self._sizes = {pack.name: pack.size for pack in packs}
        return (pack.name for pack in sorted(packs, key=lambda pack: -pack.modified))

    def _holders(self, digest: bytes) -> Iterator[str]:
        """Yield packs that a sampled digest lies in."""
        key = key_of(digest)
        yield from self._own.find(key)
        yield from self._samples.find(key)

    def _lacks(self, pack: str) -> bool:
        """Say whether a pack has to be learnt; if it is still known, it stays known."""
        with self._lock:
            number = self._numbers.get(pack)
            if number is None:
                return self._seen.get(pack, True)
            is_known = self._known.is_fresh(number) or self._known.refresh(number)
            return not is_known and number not in self._unfinished

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
            if index:
                self._seen[pack] = True
            else:
                self._seen.setdefault(pack, False)  # it may be our own, and durable by now
        return index

    def _checked(self, pack: str) -> PackIndex | None:
        try:
            size = self._sizes.get(pack) or self._remote.stat(pack_path(pack)).size
            index = self._indexes.load(pack, size)
        except NotFoundError:
            return None
        except FormatError as error:
            log.warning("%s; its chunks are sent again", error.message)
            return None
        self._sizes[pack] = size
        return index
