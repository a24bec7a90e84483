"""What a layer is read from."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from devops_snapshot.errors import ConflictError, NotFoundError, StorageError

from .file_state import FileState, state_of

_BLOCK = 512  # bytes; the unit of st_blocks on Linux


class Extent(NamedTuple):
    """A part of a file that holds data; the rest reads as zeros. In bytes."""

    offset: int
    length: int


class LayerSource(Protocol):
    """What a layer is made from.

    It is read by one thread at a time, in ascending order, in pieces of some MiB: once, or twice
    where it is a saved memory.
    """

    @property
    def size(self) -> int:
        """Bytes, holes included."""

    def extents(self) -> Iterable[Extent]:
        """Yield where data may be, in ascending order."""

    def pread(self, offset: int, length: int) -> bytes:
        """Return exactly ``length`` bytes; the range lies within ``size``."""


@dataclass(frozen=True)
class _Identity:
    """What stays the same while nobody writes to a file or replaces it."""

    device: int
    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Identity:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class FileSource:
    """A file on this host; see :meth:`open`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{path} is not a regular file")
        self._identity = _Identity.of(status)
        self._sparse = status.st_blocks * _BLOCK < status.st_size
        if self._sparse:
            os.fsync(descriptor)  # before that, not every file system tells its holes truly

    @classmethod
    @contextmanager
    def open(cls, path: str | os.PathLike[str]) -> Iterator[FileSource]:
        """Open a file, and at the end make sure that nobody changed it meanwhile.

        :raises NotFoundError: there is no such file
        :raises ConflictError: the file was written to or replaced while it was open here
        """
        path = Path(path)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotFoundError(f"{path} does not exist") from error
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        try:
            source = cls(path, descriptor)
            yield source
            source._check_unchanged()
        finally:
            os.close(descriptor)

    @property
    def size(self) -> int:
        return self._identity.size

    @property
    def is_sparse(self) -> bool:
        """Say whether the file has holes, as far as the blocks tell that it takes."""
        return self._sparse

    def state(self) -> FileState | None:
        """Return what tells later whether the file has changed; None if nothing would.

        A page that is dirty through a shared mapping may be written to without another mtime until
        the kernel has written it back, so it does that first.
        """
        os.fsync(self._descriptor)
        return state_of(self._descriptor)

    def extents(self) -> Iterator[Extent]:
        if not self._sparse:
            yield Extent(0, self.size)
            return
        yield from extents_of(self._descriptor, self.size)

    def pread(self, offset: int, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self._pread_some(offset + len(data), length - len(data))
            data = data + more if data else more
        return data

    def _pread_some(self, offset: int, length: int) -> bytes:
        try:
            data = os.pread(self._descriptor, length, offset)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be read: {error.strerror}") from error
        if not data:
            raise self._changed()
        return data

    def _check_unchanged(self) -> None:
        try:
            now = _Identity.of(self.path.stat())
        except FileNotFoundError as error:
            raise self._changed() from error
        if now != self._identity:
            raise self._changed()

    def _changed(self) -> ConflictError:
        return ConflictError(
            f"{self.path} changed while it was being read",
            hint="Only files that nothing writes to can be exported: take a snapshot first",
        )


def extents_of(descriptor: int, size: int) -> Iterator[Extent]:
    """Yield where a file has data before ``size``."""
    end = 0
    while (start := _seek(descriptor, end, os.SEEK_DATA, size)) < size:
        end = min(_seek(descriptor, start, os.SEEK_HOLE, size), size)
        yield Extent(start, end - start)


def _seek(descriptor: int, offset: int, whence: int, size: int) -> int:
    try:
        return os.lseek(descriptor, offset, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole up to the end
            return size
        raise
