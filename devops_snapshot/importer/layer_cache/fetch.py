"""Fetching layers into the cache, several at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass

from ...errors import StorageError
from ...store import AtHand, FileAtHand, ImportSession
from ...store.reading.layer_reader import THREADS
from .entry import Entry
from .part import PartFile
from .pool_files import PoolFiles

AT_ONCE = max(1, 8 // THREADS)
"""Layers; each is fetched by several threads, and every thread needs up to 20 MiB of memory.

An import with 16 threads took 421 MiB in all, and 400 MB is what it may take.
"""

Locked = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fetcher:
    """Lets entries be sound.

    :param locked: for the moment in which an entry changes
    :param seeds: where chunks may be that other layers have, too
    :param told: called with the bytes that are there now
    """

    session: ImportSession
    pool_files: PoolFiles
    locked: Locked
    told: Callable[[int], None]
    stop: threading.Event
    seeds: AtHand | None = None

    def fetch_all(self, entries: Iterable[Entry]) -> None:
        """Fetch until the first failure; what has come by then stays.

        :raises FormatError: the repository is damaged
        :raises StorageError: it cannot be reached, or there is no room here
        """
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="layer") as threads:
            futures = [threads.submit(self.fetch, entry) for entry in entries]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self.stop.set()
                for future in futures:
                    future.cancel()
                raise

    def has(self, entry: Entry) -> bool:
        """Whether it is here, perhaps as a file of the storage pool that it has not been yet."""
        return entry.is_sound() or self._is_right(entry) or self._adopt(entry)

    def fetch(self, entry: Entry) -> None:
        """Let an entry be sound; another import that fetches it is waited for.

        :raises GivenUp: it shall stop
        """
        if entry.is_sound():
            return
        with PartFile.open(entry.part_path, stop=self.stop, told=self.told) as part:
            if self.has(entry):
                return
            with ExitStack() as stack:
                at_hand = [] if part.is_new else [part.content]
                at_hand += self._alike(entry, stack)
                self.session.restore(entry.layer, part, at_hand=at_hand, seeds=self.seeds)
            part.finish()
            with self.locked():
                entry.take_over(part.path)
                entry.seal()
        self._keep_known(entry)

    def _is_right(self, entry: Entry) -> bool:
        """Whether it is right although its file was changed, or was not looked at to the end."""
        with suppress(StorageError), entry.opened() as content:
            if self.session.layer(entry.layer).is_in(content):
                with self.locked():
                    entry.seal_as_it_is()
                return entry.is_sound()
        return False

    def _adopt(self, entry: Entry) -> bool:
        """Whether a file of the storage pool is the wanted one; then that is it from now on."""
        found = self.pool_files.find(self.session.layer(entry.layer))
        if found is None:
            return False
        with self.locked():
            if not entry.link_from(found):
                return False
            entry.seal_as_it_is()
        self._keep_known(entry)
        return entry.is_sound()

    def _keep_known(self, entry: Entry) -> None:
        known = self.session.layer(entry.layer).known()
        if known is not None:
            entry.keep_known(known)

    def _alike(self, entry: Entry, stack: ExitStack) -> Iterator[FileAtHand]:
        """What may have parts of it."""
        paths = [entry.path, *self.pool_files.alike(self.session.layer(entry.layer).size)]
        for path in paths:
            with suppress(StorageError):
                head = entry.head() if path == entry.path else b""
                yield stack.enter_context(FileAtHand.open(path, head=head))
