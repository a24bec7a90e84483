"""The indexes of the packs of a repository, from the storage node or the local cache."""

from __future__ import annotations

import threading
from collections import OrderedDict

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from ..cache import Cache
from ..format.names import pack_path
from ..format.pack import PackIndex, decode_trailer, encode_trailer, trailer_length
from ..format.sealed import damaged

_GUESS = 128 * 1024  # bytes; most indexes with their footer are smaller
_KEPT = 1 << 19  # chunks whose indexes are in memory, about 50 bytes each


class PackIndexes:
    """Loads and keeps indexes; may be used by several threads.

    :ivar cache: what this machine remembers of the repository
    """

    def __init__(self, remote: Remote, cache: Cache) -> None:
        self._remote = remote
        self.cache = cache
        self._kept_chunks = 0
        self._kept: OrderedDict[str, PackIndex] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, pack: str) -> PackIndex:
        """Return the index of a pack.

        :raises FormatError: the pack is damaged or missing
        """
        with self._lock:
            index = self._kept.get(pack)
            if index:
                self._kept.move_to_end(pack)
        return index or self.load(pack)

    def load(self, pack: str, size: int | None = None) -> PackIndex:
        """Return the index of a pack whose object has ``size`` bytes, if that is known.

        :raises FormatError: the pack is damaged or missing
        """
        index = self._cached(pack)
        if index is None or size not in (None, index.size):
            return self.refresh(pack, size)
        self._keep(index)
        return index

    def refresh(self, pack: str, size: int | None = None) -> PackIndex:
        """Like :meth:`load`, but from the storage node, whatever is remembered.

        :raises FormatError: the pack is damaged or missing
        """
        index = self._fetch(pack, size)
        self.put(index)
        return index

    def put(self, index: PackIndex) -> None:
        """Remember the index of a pack that has just been written."""
        self.cache.put(pack_path(index.pack), encode_trailer(index))
        self._keep(index)

    def forget_all_but(self, packs: set[str]) -> None:
        """Drop what is cached of packs that are gone."""
        with self._lock:
            for pack in self._kept.keys() - packs:
                self._drop(pack)
        alive = {pack_path(pack) for pack in packs}
        for path in self.cache.names("packs") - alive:
            self.cache.forget(path)

    def _keep(self, index: PackIndex) -> None:
        with self._lock:
            self._drop(index.pack)
            self._kept[index.pack] = index
            self._kept_chunks += len(index)
            while self._kept_chunks > _KEPT:
                self._drop(next(iter(self._kept)))

    def _drop(self, pack: str) -> None:
        index = self._kept.pop(pack, None)
        self._kept_chunks -= len(index) if index else 0

    def _cached(self, pack: str) -> PackIndex | None:
        trailer = self.cache.get(pack_path(pack))
        if trailer is None:
            return None
        try:
            return decode_trailer(pack, trailer, f"The cached index of {pack}")
        except FormatError:
            return None

    def _fetch(self, pack: str, size: int | None) -> PackIndex:
        path = pack_path(pack)
        where = f"Pack {path}"
        try:
            size = self._remote.stat(path).size if size is None else size
            tail = self._remote.read(path, max(0, size - _GUESS), min(size, _GUESS))
            length = trailer_length(tail, where)
            if length > size:
                raise damaged(where, "it is cut off")
            if length > len(tail):
                tail = self._remote.read(path, size - length, length)
        except NotFoundError as error:
            raise damaged(where, "it is missing") from error
        index = decode_trailer(pack, tail[-length:], where)
        if index.size != size:
            raise damaged(where, f"it has {size} bytes instead of {index.size}")
        return index
