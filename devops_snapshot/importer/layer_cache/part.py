"""A layer on its way: what has come stays when the import ends, in whatever way."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...store import FileAtHand, FileSink
from ...store.format.hashing import Data
from ...store.reading.layer_sink import cannot_be_written

_POLL = 0.1  # seconds


class GivenUp(Exception):  # noqa: N818 -- nothing has gone wrong
    """The import ends; raised in the threads that fetch for it."""


class PartFile:
    """A :class:`~...store.LayerSink` that goes on where an earlier one has ended.

    What is there already is not written again, and is offered as :attr:`content`: nobody has to
    believe it.

    :param told: called with the bytes of the layer that are there now, some at a time
    """

    def __init__(
        self, path: Path, descriptor: int, *, stop: threading.Event, told: Callable[[int], None]
    ) -> None:
        self.path = path
        self._descriptor = descriptor
        self._sink = FileSink(Path(path.name), descriptor)
        self._stop = stop
        self._told = told
        self._is_new = os.fstat(descriptor).st_size == 0
        self.content = FileAtHand(descriptor)

    @classmethod
    @contextmanager
    def open(
        cls, path: Path, *, stop: threading.Event, told: Callable[[int], None]
    ) -> Iterator[PartFile]:
        """Open or make it, as soon as nobody else fetches that layer.

        An empty one is removed at the end.

        :raises GivenUp: ``stop`` was set first
        :raises StorageError: it cannot be made
        """
        part = cls(path, _lock(path, stop), stop=stop, told=told)
        try:
            yield part
        finally:
            if part._is_there() and not os.fstat(part._descriptor).st_blocks:
                path.unlink()
            part._sink.close()

    @property
    def is_new(self) -> bool:
        """Whether nothing was there."""
        return self._is_new

    def allocate(self, size: int) -> None:
        self._sink.allocate(size)

    def pwrite(self, offset: int, data: Data) -> None:
        if self._stop.is_set():
            raise GivenUp
        if self._is_new or os.pread(self._descriptor, len(data), offset) != data:
            self._sink.pwrite(offset, data)
        self._told(len(data))

    def finish(self) -> None:
        """Make it durable."""
        self._sink.finish()

    def _is_there(self) -> bool:
        return _is_file(self.path, self._descriptor)


def _lock(path: Path, stop: threading.Event) -> int:
    """Return a descriptor of the file that holds its lock, which dies with this process."""
    while not stop.is_set():
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise cannot_be_written(Path(path.name), error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            stop.wait(_POLL)
            continue
        if _is_file(path, descriptor):
            return descriptor
        os.close(descriptor)  # whoever held it was done, and it has another name now
    raise GivenUp


def _is_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
