"""Bringing a file to the disk while it is being written, so that little is left at the end."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

SYNC_EVERY = 64 * 1024 * 1024  # bytes


class WriteBehind:
    """Syncs a file in the background; ``wrote`` may be called by several threads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._lock = threading.Lock()
        self._unsynced = 0
        self._syncing: Future[None] | None = None

    def wrote(self, size: int) -> None:
        """Take note of some bytes, and begin to sync when they are many.

        :raises OSError: what was written before did not reach the disk
        """
        with self._lock:
            self._unsynced += size
            if self._unsynced < SYNC_EVERY or (self._syncing and not self._syncing.done()):
                return
            self._unsynced = 0
            before = self._syncing
            self._syncing = self._thread.submit(os.fdatasync, self._descriptor)
        if before:
            before.result()

    def finish(self) -> None:
        """Make the file durable.

        :raises OSError: something did not reach the disk
        """
        if self._syncing:
            self._syncing.result()  # the kernel tells an error only once
        os.fsync(self._descriptor)

    def stop(self) -> None:
        """End the thread; the file can be closed then."""
        self._thread.shutdown()
