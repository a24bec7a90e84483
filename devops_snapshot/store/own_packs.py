"""The packs that this machine's exports have stored and that no export needs yet.

They are remembered from the moment they are durable until their export is published. So an export
that was cut off is not sent again, although nobody else knows what has arrived.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .cache import Cache
from .names import is_pack_name
from .pack import PackIndex
from .samples import Sampler

_NOTES = "unpublished pack"
_MOST = 4096  # packs of earlier exports: 256 GiB


class OwnPacks:
    """What this export has stored, and what earlier ones have left, with its samples."""

    def __init__(self, cache: Cache) -> None:
        self._notes = cache.notes
        self.sampler = Sampler()

    def cut_off(self) -> Sequence[str]:
        """Return packs that earlier exports have stored, newest first."""
        noted = [name for name in self._notes.all(_NOTES) if is_pack_name(name)]
        return noted[: -_MOST - 1 : -1]

    def add(self, index: PackIndex) -> None:
        """Take in a pack of this export that is durable."""
        self._notes.put(_NOTES, {index.pack: b""})
        self.adopt(index)

    def adopt(self, index: PackIndex) -> None:
        """Take in a pack of an export that was cut off, and whose packs are this one's now."""
        self.sampler.add(index.pack, index.digests)

    def find(self, key: int) -> Iterator[str]:
        """Yield a pack that holds a chunk with that key."""
        return self.sampler.find(key)

    def forget(self, packs: Sequence[str]) -> None:
        """Forget packs that are gone, or that an export needs."""
        self._notes.forget(_NOTES, packs)
