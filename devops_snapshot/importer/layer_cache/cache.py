"""The layer cache: what imports have fetched, for those that come next.

An entry and the file of an imported environment are one and the same where that can be: a clone on
file systems that share blocks, otherwise a second name. Where the environment's file has to begin
with other bytes (the name of its backing file), the original ones are kept beside the entry. So an
import writes every byte once, and the cache takes room only for what no environment has any more.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import libvirt
from django.conf import settings

from ...errors import DevopsError, StorageError, UsageError
from ...links import cloned, linked
from ...progress import Progress, Quiet
from ...store import FileAtHand, FileSink, ImportSession, LayerId, Seeds
from ...store.reading.layer_sink import cannot_be_written
from ...workshop import private_workshop, workshop_of
from ..target import Target
from .entry import Entry
from .fetch import Fetcher
from .heads import overwrite_head
from .pool_files import PoolFiles

LOG = logging.getLogger(__name__)

DEFAULT_LIMIT = 20 << 30
"""Bytes."""

DONE = ".done"
"""Suffix of a bench that is not needed any more."""

_TRIES = 3
_MOST_SEEDS = 200  # files that are open at the same time
_FORGOTTEN = 30 * 24 * 3600.0  # seconds; a database that would tell what to do with it is gone


class LayerCache:
    """Layers of any repository by their ids, shared by all imports of a host and user.

    :ivar workshop: the directory of the cache, and of what imports are making
    :ivar benches: for a directory of each import, on which it makes its files
    :param look: looks at the storage pool, when it is needed first
    :param limit: bytes that entries may take which no environment has
    """

    def __init__(
        self, workshop: Path, *, limit: int, look: Callable[[], PoolFiles] = PoolFiles
    ) -> None:
        self.workshop = workshop
        self._layers = workshop / "layers"
        self.benches = workshop / "imports"
        self._limit = limit
        self._look = look

    @classmethod
    def of(cls, target: Target) -> LayerCache:
        """That of a storage pool; nothing is made before it is needed."""
        if not target.files_are_ours:
            return cls(private_workshop(), limit=_limit())
        workshop = workshop_of(target.directory)
        return cls(workshop, limit=_limit(), look=lambda: PoolFiles.of(target))

    @classmethod
    def beside(cls, pool: Path) -> LayerCache:
        """That of the storage pool in a directory, for whoever looks for nothing in the pool."""
        return cls(workshop_of(pool), limit=_limit())

    def entry(self, layer: LayerId) -> Entry:
        return Entry(self._layers, layer)

    def missing(self, session: ImportSession, layers: Iterable[LayerId]) -> int:
        """Bytes of data that have still to come, before they are decompressed into holes and all.

        What the storage pool has already is found here.

        :raises FormatError: a layer is damaged or missing
        """
        return sum(self._lacking(session, self._fetcher(session), layers).values())

    def spare(self, keep: Collection[LayerId] = ()) -> int:
        """Bytes that will be given up if there is no other room.

        :param keep: layers that will not
        """
        return sum(entry.takes for entry in self._entries() if entry.layer not in keep)

    def fetch(
        self, session: ImportSession, layers: Collection[LayerId], progress: Progress
    ) -> None:
        """Let all these layers be here; what was fetched stays, whatever happens.

        :raises FormatError: the repository is damaged
        :raises StorageError: it cannot be reached, or there is no room here
        """
        self.make_directories()
        fetcher = self._fetcher(session, progress)
        lacking = self._lacking(session, fetcher, layers)
        self._make_room(sum(lacking.values()), keep=layers)
        progress.begin("Fetching", sum(data_size(session, layer) for layer in lacking))
        session.expect(lacking)
        largest_first = sorted(lacking, key=lambda layer: lacking[layer], reverse=True)
        with self._seeds() as seeds:
            with_seeds = replace(fetcher, seeds=seeds)
            with_seeds.fetch_all([self.entry(layer) for layer in largest_first])
        for layer in layers:
            self.entry(layer).touch()

    @contextmanager
    def opened(self, session: ImportSession, layer: LayerId) -> Iterator[FileAtHand]:
        """A layer as it was exported, whatever its file begins with here.

        :raises FormatError: as :meth:`fetch`; likewise StorageError
        """
        with ExitStack() as stack:
            with self._sound(session, layer) as entry:
                content = stack.enter_context(entry.opened())
            yield content

    def take(
        self,
        session: ImportSession,
        layer: LayerId,
        target: Path,
        *,
        head: bytes = b"",
        is_written: bool = False,
    ) -> None:
        """Make a new file that is a layer, without copying it where that can be.

        :param target: on the file system of the storage pool
        :param head: takes the place of the layer's first bytes
        :param is_written: guests will write to the file, so that it must be nobody else's
        :raises FormatError: as :meth:`fetch`; likewise StorageError
        """
        with self._sound(session, layer) as entry:
            if cloned(entry.path, target):
                overwrite_head(target, head or entry.head())
                return
            if not is_written and _shared(entry, target, head):
                return
        with self.opened(session, layer) as content, FileSink.create(target) as sink:
            session.restore(layer, sink, at_hand=[content])
        overwrite_head(target, head)

    def give_up(self, path: Path) -> bool:
        """Forget a file that is about to be written to; returns whether it was an entry."""
        try:
            status = path.stat()
            with self._locked():
                found = [entry for entry in self._entries() if entry.is_file(status)]
                for entry in found:
                    entry.forget()
        except (FileNotFoundError, PermissionError):  # that of a directory
            return False
        return bool(found)

    def trim(self, keep: Collection[LayerId] = ()) -> None:
        """Give up what was not used for longest, until the rest is within the limit."""
        self._sweep()
        excess = sum(entry.takes for entry in self._entries()) - self._limit
        self._evict(excess, keep)

    def made(self) -> Path:
        """A directory of the cache, which is there now.

        :raises StorageError: it cannot be made
        """
        self.make_directories()
        return self.benches

    def room(self) -> int:
        """Bytes that are free where it lies."""
        status = os.statvfs(self._place)
        return status.f_bavail * status.f_frsize

    def shares_room_with(self, directory: Path) -> bool:
        """Whether what one takes the other lacks; not if the directory cannot be looked at."""
        try:
            return directory.stat().st_dev == self._place.stat().st_dev
        except OSError:
            return False

    @property
    def _place(self) -> Path:
        """A directory where it lies, or will be made."""
        return next(path for path in (self.workshop, *self.workshop.parents) if path.is_dir())

    @cached_property
    def _pool_files(self) -> PoolFiles:
        return self._look()

    def _fetcher(self, session: ImportSession, progress: Progress | None = None) -> Fetcher:
        told = (progress or Quiet()).advance
        return Fetcher(session, self._pool_files, self._locked, told, threading.Event())

    @contextmanager
    def _seeds(self) -> Iterator[Seeds]:
        """The layers that are here, the last used ones first, for chunks that others have, too."""
        latest = sorted(self._entries(), key=lambda entry: entry.last_use, reverse=True)
        seeds = Seeds()
        with ExitStack() as stack:
            for entry in latest[:_MOST_SEEDS]:
                known = entry.known()
                if known is not None:
                    with suppress(StorageError):
                        seeds.add(known, stack.enter_context(entry.opened()))
            yield seeds

    def _lacking(
        self, session: ImportSession, fetcher: Fetcher, layers: Iterable[LayerId]
    ) -> dict[LayerId, int]:
        """Layers that are not here, and how many bytes of data they lack."""
        entries = [self.entry(layer) for layer in dict.fromkeys(layers)]
        lacking = [entry for entry in entries if not fetcher.has(entry)]
        return {
            entry.layer: max(0, data_size(session, entry.layer) - entry.part_size)
            for entry in lacking
        }

    @contextmanager
    def _sound(self, session: ImportSession, layer: LayerId) -> Iterator[Entry]:
        """The entry, which is right and stays so in the block."""
        self.make_directories()
        entry = self.entry(layer)
        for _ in range(_TRIES):
            self._fetcher(session).fetch(entry)  # another import may have given it up by now
            with self._locked():
                if entry.is_sound():
                    yield entry
                    return
        raise StorageError(f"layer {layer} is being changed again and again")

    def make_directories(self) -> None:
        """Nobody else may look into them, whatever the umask is: there are memories of guests.

        :raises StorageError: they cannot be made
        """
        try:
            self.workshop.mkdir(mode=0o700, parents=True, exist_ok=True)
            for directory in (self._layers, self.benches):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise cannot_be_written(self.workshop.parent, error) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """For the moments in which entries change; free again when its holder dies."""
        self.make_directories()
        with (self.workshop / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _make_room(self, needed: int, keep: Collection[LayerId]) -> None:
        """:raises StorageError: the layers cannot all come"""
        self._evict(needed - self.room(), keep)
        free = self.room()
        if needed > free:
            raise StorageError(
                f"{needed} bytes have to come, but {self.workshop.parent} has room for {free}",
                hint="Free space on this host",
            )

    def _evict(self, size: int, keep: Collection[LayerId]) -> None:
        """Give up entries until so many bytes are free again, or there is nothing left."""
        if size <= 0:
            return
        with self._locked():
            for entry in sorted(self._entries(), key=lambda entry: entry.last_use):
                takes = entry.takes
                if size > 0 and takes and entry.layer not in keep and not entry.is_coming():
                    entry.forget()
                    size -= takes

    def _sweep(self) -> None:
        """Remove what imports have made and do not need any more, or nobody has ever asked for."""
        for bench in self.benches.glob("*"):
            with suppress(FileNotFoundError):
                age = time.time() - bench.stat().st_mtime
                if bench.suffix == DONE or age > _FORGOTTEN:
                    shutil.rmtree(bench, ignore_errors=True)

    def _entries(self) -> list[Entry]:
        with suppress(FileNotFoundError):
            names = {path.name.partition(".")[0] for path in self._layers.iterdir()}
            return [self.entry(LayerId(name)) for name in names]
        return []


def give_up(paths: Iterable[str]) -> bool:
    """Forget files that are about to be written to, which have names elsewhere, too.

    :returns: whether the cache had one
    """
    given_up = [LayerCache.beside(Path(path).parent).give_up(Path(path)) for path in paths]
    return any(given_up)


def trim(connection_string: str, storage_pool_name: str) -> None:
    """An environment was erased there: what was its own is the cache's alone now."""
    try:
        LayerCache.of(Target(connection_string, storage_pool_name)).trim()
    except (DevopsError, OSError, libvirt.libvirtError) as error:
        LOG.info("the layer cache stays as it is: %s", error)


def _limit() -> int:
    """:raises UsageError: the setting is no number"""
    value = settings.DEVOPS_LAYER_CACHE or DEFAULT_LIMIT
    try:
        return int(value)
    except ValueError:
        raise UsageError(
            f"DEVOPS_LAYER_CACHE is {value!r}, which is no number of bytes",
            hint=f"The default is {DEFAULT_LIMIT}",
        ) from None


def _shared(entry: Entry, target: Path, head: bytes) -> bool:
    """Let the entry's file be the target, too; returns whether that can be."""
    if not entry.is_shared:
        entry.restore_head()
    elif head or entry.head():
        return False  # it is a file of another environment, and begins with what that needs
    if not linked(entry.path, target):
        return False
    if head:
        entry.save_head(len(head))
        overwrite_head(entry.path, head)
        entry.seal()
    return True


def data_size(session: ImportSession, layer: LayerId) -> int:
    """Bytes that are not holes."""
    return sum(extent.length for extent in session.layer(layer).extents())
