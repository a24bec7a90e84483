"""Connections to one SFTP server: as many as threads need at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from .patience import ConnectionLost, persistently
from .sftp_connection import Connection, open_connection
from .ssh import Host

T = TypeVar("T")


class Pool:
    """Lends each thread a connection of its own.

    :param root: the directory of the repository
    """

    def __init__(self, host: Host, root: str) -> None:
        self._host = host
        self._root = root
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections that are not lent."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    def run(
        self, path: str, work: Callable[[Connection], T], *, progress: Callable[[], int] = lambda: 0
    ) -> T:
        """Do something with ``path``, again on another connection whenever one is cut.

        :param progress: see :func:`~devops_snapshot.remote.patience.persistently`
        """

        def attempt() -> T:
            with self.lend(path) as link:
                return work(link)

        return persistently(attempt, progress=progress)

    @contextmanager
    def lend(self, path: str) -> Iterator[Connection]:
        """Lend a connection; what goes wrong with ``path`` meanwhile becomes a clear error.

        :raises ConnectionLost: it was cut, or none can be made at the moment
        """
        link = self._take_idle() or open_connection(self._host, self._root)
        try:
            with link.clear_errors(path):
                yield link
        except ConnectionLost:
            self.close()  # the others are cut as well, or will not be missed
            raise
        finally:
            if link.is_alive():
                with self._lock:
                    self._idle.append(link)
            else:
                link.close()

    def _take_idle(self) -> Connection | None:
        with self._lock:
            while self._idle:
                link = self._idle.pop()
                if link.is_alive():
                    return link
                link.close()
        return None
