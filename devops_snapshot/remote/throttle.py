"""Writing to a storage node with a bounded rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from .interface import Entry, Remote

_PIECE = 64 * 1024  # bytes; small enough for a slow rate to be steady


class Pace:
    """Lets bytes pass at a rate; shared by all threads that write.

    :param rate: bytes a second
    :param clock: seconds; with ``sleep``, only tests have others
    """

    def __init__(
        self,
        rate: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if rate <= 0:
            raise ValueError(f"a rate of {rate} bytes a second lets nothing pass")
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._free_at = clock()
        self._lock = threading.Lock()

    def let_pass(self, size: int) -> None:
        """Return when that many bytes may be sent."""
        with self._lock:
            now = self._clock()
            start = max(now, self._free_at)
            self._free_at = start + size / self._rate
        if start > now:
            self._sleep(start - now)


class ThrottledRemote:
    """Another remote, to which what is written in bulk goes at a bounded rate."""

    def __init__(self, remote: Remote, pace: Pace) -> None:
        self._remote = remote
        self._pace = pace
        self.rename_is_move = remote.rename_is_move

    @property
    def url(self) -> str:
        return self._remote.url

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._remote.read(path, offset, length)

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        return self._remote.write(path, self._paced(data), staging=staging)

    def rename(self, source: str, target: str) -> None:
        self._remote.rename(source, target)

    def revoke(self, directory: str, target: str) -> None:
        self._remote.revoke(directory, target)

    def list(self, path: str) -> list[Entry]:
        return self._remote.list(path)

    def stat(self, path: str) -> Entry:
        return self._remote.stat(path)

    def remove(self, path: str) -> None:
        self._remote.remove(path)

    def mkdir(self, path: str) -> None:
        self._remote.mkdir(path)

    def free_space(self) -> int | None:
        return self._remote.free_space()

    def _paced(self, data: Iterable[bytes]) -> Iterator[bytes]:
        for block in data:
            rest = memoryview(block)
            while rest:
                piece = bytes(rest[:_PIECE])
                self._pace.let_pass(len(piece))
                yield piece
                rest = rest[_PIECE:]
