"""The packs that this machine's exports have stored and that no export needs yet.

The lease is remembered from before its first pack until its export is published. So what had
arrived of an export that was cut off is not sent again, although nobody else knows of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from devops_snapshot.errors import NotFoundError
from devops_snapshot.remote import Remote

from ..cache import Cache
from ..format.names import PACKS, is_lease_id, is_pack_name, lease_directory, lease_of_pack
from ..format.pack import PackIndex
from .samples import Sampler

_NOTES = "unpublished lease"
_MOST = 4096  # packs of earlier exports: 256 GiB


class OwnPacks:
    """What this export has stored, and what earlier ones have left, with its samples."""

    def __init__(self, remote: Remote, cache: Cache) -> None:
        self._remote = remote
        self._notes = cache.notes
        self._earlier: list[str] = []
        self._leases: set[str] = set()
        self.sampler = Sampler()

    def cut_off(self) -> Sequence[str]:
        """Return packs that earlier exports have stored, those of the latest first."""
        self._earlier = [lease for lease in self._notes.all(_NOTES) if is_lease_id(lease)]
        packs = [pack for lease in reversed(self._earlier) for pack in self._packs_of(lease)]
        return packs[:_MOST]

    def begin(self, pack: str) -> None:
        """Take note that there is going to be a pack of this export."""
        lease = lease_of_pack(pack)
        if lease not in self._leases:
            self._leases.add(lease)
            self._notes.put(_NOTES, {lease: b""})

    def add(self, index: PackIndex) -> None:
        """Take in a pack that is durable, of this export or of one that was cut off."""
        self.sampler.add(index.pack, index.digests)

    def find(self, key: int) -> Iterator[str]:
        """Yield a pack that holds a chunk with that key."""
        return self.sampler.find(key)

    def published(self) -> None:
        """Forget this export, and those that this one has taken over unless they may still run."""
        ended = [lease for lease in self._earlier if not self._may_run(lease)]
        self._notes.forget(_NOTES, [*self._leases, *ended])

    def _packs_of(self, lease: str) -> list[str]:
        entries = self._remote.list(f"{PACKS}/{lease[:2]}")
        return [
            entry.name
            for entry in entries
            if is_pack_name(entry.name) and lease_of_pack(entry.name) == lease
        ]

    def _may_run(self, lease: str) -> bool:
        try:
            self._remote.stat(f"{lease_directory(lease)}/lease.json")
        except NotFoundError:
            return False
        return True
