"""What a layer is restored to."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from devops_snapshot.errors import ConflictError, NotFoundError, StorageError

from ..format.hashing import Data
from .write_behind import WriteBehind


class LayerSink(Protocol):
    """Takes bytes at any place, from several threads; what is never written reads as zeros."""

    def allocate(self, size: int) -> None:
        """Become ``size`` bytes of zeros; called once, before the first ``pwrite``."""

    def pwrite(self, offset: int, data: Data) -> None:
        """Write all of ``data`` at ``offset``."""


class FileSink:
    """A sparse file on this host; see :meth:`create`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._behind = WriteBehind(descriptor)

    @classmethod
    @contextmanager
    def create(cls, path: str | os.PathLike[str], *, mode: int = 0o600) -> Iterator[FileSink]:
        """Create a file, make it durable at the end, and remove it if anything fails.

        :raises ConflictError: there is a file of that name, which is left alone
        """
        path = Path(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, mode)
        except FileExistsError as error:
            raise ConflictError(f"{path} exists already") from error
        except FileNotFoundError as error:
            raise NotFoundError(f"Directory {path.parent} does not exist") from error
        except OSError as error:
            raise StorageError(f"{path} cannot be created: {error.strerror}") from error
        sink = cls(path, descriptor)
        try:
            yield sink
            sink.finish()
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            sink.close()

    def allocate(self, size: int) -> None:
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise self._failed(error) from error
        except OverflowError as error:
            raise StorageError(f"{self.path} cannot have {size} bytes") from error

    def pwrite(self, offset: int, data: Data) -> None:
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self._descriptor, view, offset)
                view = view[written:]
                offset += written
            self._behind.wrote(len(data))
        except OSError as error:
            raise self._failed(error) from error

    def finish(self) -> None:
        """Make the file durable."""
        try:
            self._behind.finish()
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file; what was not finished may be lost."""
        self._behind.stop()
        os.close(self._descriptor)

    def _failed(self, error: OSError) -> StorageError:
        return cannot_be_written(self.path, error)


def cannot_be_written(path: Path, error: OSError) -> StorageError:
    """Say so, and what to do where the disk is full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"No space left for {path}", hint="Free space on this host")
    return StorageError(f"{path} cannot be written: {error.strerror}")
