"""What this host has of a layer already, and that need not travel therefore."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from devops_snapshot.errors import StorageError

from ..format.hashing import CHUNK_SIZE, Data
from ..writing.layer_source import Extent, LayerSource, extents_of


class AtHand(Protocol):
    """Chunks on this host; may be asked by several threads.

    Nothing that it gives is believed: whoever asks compares digests.
    """

    def find(self, number: int, digest: bytes) -> Data | None:
        """Return what may be a chunk; None where there is nothing like it.

        :param number: of the chunk in its layer
        """


class InPlace:
    """A file that was to become the wanted one, or was it once: what is there lies in its place.

    :param content: of the file, as the layer has it
    """

    def __init__(self, content: LayerSource) -> None:
        self._content = content

    def find(self, number: int, digest: bytes) -> Data | None:
        offset = number * CHUNK_SIZE
        length = min(CHUNK_SIZE, self._content.size - offset)
        return self._content.pread(offset, length) if length > 0 else None


class FileAtHand:
    """A :class:`LayerSource` of a file that may be anything, and may change.

    What cannot be read, or lies behind the end, is zeros. Several threads may read it.

    :param head: bytes that are read in place of the first ones
    """

    def __init__(self, descriptor: int, *, head: bytes = b"") -> None:
        self._descriptor = descriptor
        self._head = head

    @classmethod
    @contextmanager
    def open(cls, path: str | os.PathLike[str], *, head: bytes = b"") -> Iterator[FileAtHand]:
        """:raises StorageError: it cannot be opened"""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise StorageError(f"{os.fspath(path)} cannot be read: {error.strerror}") from error
        try:
            yield cls(descriptor, head=head)
        finally:
            os.close(descriptor)

    @property
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def extents(self) -> Iterator[Extent]:
        if self._head:
            yield Extent(0, len(self._head))
        yield from extents_of(self._descriptor, self.size)

    def pread(self, offset: int, length: int) -> bytes:
        try:
            data = os.pread(self._descriptor, length, offset)
        except (OSError, OverflowError):
            data = b""
        head = self._head[offset : offset + length]
        return (head + data[len(head) :]).ljust(length, b"\0")
