"""A file that an environment consists of, read in the way that is possible."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .. import storage_pool
from ..connection import is_local
from ..contract import Pool
from ..errors import DevopsError, HypervisorError, NotFoundError
from ..hypervisor import asking
from ..store import FileAtHand, FileSource, LayerSource
from .at_hand import VolumeAtHand
from .download import VolumeSource, read_volume
from .volume_state import VolumeState


class StoredFile(Protocol):
    """A file that is there."""

    @property
    def size(self) -> int:
        """Bytes, holes included."""

    @property
    def is_at_hand(self) -> bool:
        """Whether it is a file of this host that we may read."""

    def beginning(self, most: int) -> bytes:
        """The first bytes, or all."""

    def opened(self) -> AbstractContextManager[LayerSource]:
        """To be read in the block.

        :raises ConflictError: somebody wrote to it meanwhile
        """

    def compared(self) -> AbstractContextManager[LayerSource]:
        """To be read by several threads in the block, each at another place."""


@dataclass(frozen=True)
class _AtHand:
    path: Path
    size: int
    is_at_hand: bool = True

    def beginning(self, most: int) -> bytes:
        with self.path.open("rb") as file:
            return file.read(most)

    def opened(self) -> AbstractContextManager[LayerSource]:
        return FileSource.open(self.path)

    def compared(self) -> AbstractContextManager[LayerSource]:
        return FileAtHand.open(self.path)


@dataclass(frozen=True)
class _InPool:
    volume: Any
    size: int
    is_at_hand: bool = False

    def beginning(self, most: int) -> bytes:
        return read_volume(self.volume, 0, min(most, self.size))

    def opened(self) -> AbstractContextManager[LayerSource]:
        return VolumeSource.open(self.volume)

    def compared(self) -> AbstractContextManager[LayerSource]:
        return VolumeAtHand.open(self.volume)


class StoredFiles:
    """The files of an environment by their paths.

    :param pools: where they are; none: on this host
    """

    def __init__(self, pools: Iterable[Pool] = ()) -> None:
        self._pools = {
            (pool.connection_string, pool.storage_pool_name): pool for pool in pools
        }.values()
        self._found: dict[str, StoredFile] = {}
        self._are_local = all(is_local(pool.connection_string) for pool in self._pools)

    def find(self, path: str) -> StoredFile:
        """It is looked for once.

        :raises NotFoundError: it is not there
        :raises DevopsError: it is not ours to read, and no storage pool has it
        """
        if path not in self._found:
            self._found[path] = self._find(path)
        return self._found[path]

    def _find(self, path: str) -> StoredFile:
        if self._are_local:
            try:
                size = Path(path).stat().st_size
                if os.access(path, os.R_OK, effective_ids=True):
                    return _AtHand(Path(path), size)
            except FileNotFoundError:
                raise _absent(path) from None
            except PermissionError:
                pass  # of its directory
        for pool in self._pools:
            file = _file_in(pool, path)
            if file is not None:
                return file
        if not self._are_local:
            raise _absent(path)
        raise DevopsError(
            f"no permission to read {path}, and no storage pool of libvirt's has it",
            hint="Run it as root",
        )


def _file_in(pool: Pool, path: str) -> StoredFile | None:
    with asking(f"looking for {path}"):
        name, uri = pool.storage_pool_name, pool.connection_string
        libvirt_pool = storage_pool.get_pool(pool.conn, name, uri=uri)
        volume = storage_pool.find_by_path(libvirt_pool, path)
    if volume is None:
        return None
    try:
        return _InPool(volume, VolumeState.of(volume).size)
    except HypervisorError:
        with asking(f"looking for {path}"):  # libvirt remembers files that have gone
            storage_pool.refresh(libvirt_pool)
            if storage_pool.find_volume(pool.conn, path) is None:
                return None
        raise


def _absent(path: str) -> NotFoundError:
    return NotFoundError(f"{path}, which is part of the environment, is not there")
