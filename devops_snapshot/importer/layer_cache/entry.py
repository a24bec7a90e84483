"""One layer in the cache: the file that it becomes, and what tells that it still is that file.

The file may have names in storage pools as well: then it takes no room of its own, and whoever
writes to it there changes it here. So it is not believed: inode, size and time of modification
are noted when it is known to be right, and where they differ it is compared again.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import FormatError
from ...links import linked
from ...store import FileAtHand, KnownLayer, LayerId
from ...store.writing.file_state import SETTLED_SECONDS
from .heads import overwrite_head

_BLOCK = 512  # bytes; the unit of st_blocks on Linux
_BEFORE = 60.0  # seconds


@dataclass(frozen=True)
class Entry:
    """The files of a layer, whether they are there or not.

    :param directory: of all layers
    """

    directory: Path
    layer: LayerId

    @property
    def path(self) -> Path:
        """The file itself."""
        return self.directory / self.layer

    @property
    def part_path(self) -> Path:
        """What has come of it so far."""
        return self.directory / f"{self.layer}.part"

    @property
    def _head_path(self) -> Path:
        """The first bytes, where the file in the storage pool has others there."""
        return self.directory / f"{self.layer}.head"

    @property
    def _seen_path(self) -> Path:
        """The state in which it was right; last touched when it was used last."""
        return self.directory / f"{self.layer}.seen"

    @property
    def _known_path(self) -> Path:
        """What its chunks are, for other layers to be looked for in it."""
        return self.directory / f"{self.layer}.known"

    def known(self) -> KnownLayer | None:
        """What its chunks are, if that was kept."""
        try:
            return KnownLayer.decode(self._known_path.read_bytes(), self._known_path.name)
        except (FileNotFoundError, FormatError):
            return None

    def keep_known(self, known: KnownLayer) -> None:
        self._known_path.write_bytes(known.encode())

    @contextmanager
    def opened(self) -> Iterator[FileAtHand]:
        """Its content as it was fetched, as far as nobody has changed it.

        :raises StorageError: it is not there
        """
        with FileAtHand.open(self.path, head=self.head()) as file:
            yield file

    def head(self) -> bytes:
        """The first bytes of its content where those in the file are others; else nothing."""
        try:
            return self._head_path.read_bytes()
        except FileNotFoundError:
            return b""

    def is_sound(self) -> bool:
        """Whether it is there, and nobody has written to it since it was right."""
        state = self._state()
        if state is None:
            return False
        try:
            return bool(json.loads(self._seen_path.read_bytes()) == state)
        except (OSError, ValueError):
            return False

    def seal(self) -> None:
        """Note that it is right now. Only for files of which nobody else minds their time.

        The time of modification is set back, so that whatever is written from now on changes it,
        however coarse the clock of the file system is.
        """
        then = time.time() - _BEFORE
        os.utime(self.path, (then, then))
        self._note()

    def seal_as_it_is(self) -> None:
        """Note that it is right now, unless its time would not tell a change from now on.

        Its time stays where others have the file, too.
        """
        if not self.is_shared:
            self.seal()
        elif time.time() - self.path.stat().st_mtime > SETTLED_SECONDS:
            self._note()

    def touch(self) -> None:
        """It is used now."""
        with suppress(FileNotFoundError):
            os.utime(self._seen_path)

    @property
    def last_use(self) -> float:
        """Seconds since 1970."""
        for path in (self._seen_path, self.part_path, self.path):
            with suppress(FileNotFoundError):
                return path.stat().st_mtime
        return 0.0

    @property
    def is_shared(self) -> bool:
        """Whether the file has a name elsewhere."""
        try:
            return self.path.stat().st_nlink > 1
        except FileNotFoundError:
            return False

    @property
    def part_size(self) -> int:
        """Bytes that have come of it so far."""
        try:
            return self.part_path.stat().st_blocks * _BLOCK
        except FileNotFoundError:
            return 0

    @property
    def takes(self) -> int:
        """Bytes on disk that would be free without it."""
        taken = 0
        for path in (self.path, self.part_path):
            with suppress(FileNotFoundError):
                status = path.stat()
                taken += status.st_blocks * _BLOCK if status.st_nlink == 1 else 0
        return taken

    def is_file(self, status: os.stat_result) -> bool:
        """Whether it is that file."""
        try:
            own = self.path.stat()
        except FileNotFoundError:
            return False
        return (own.st_dev, own.st_ino) == (status.st_dev, status.st_ino)

    def is_coming(self) -> bool:
        """Whether an import is fetching it."""
        try:
            with self.part_path.open("rb") as part:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def save_head(self, size: int) -> None:
        """Keep the first bytes: those in the file are about to be changed."""
        with self.path.open("rb") as file:
            head = file.read(size)
        temporary = self._head_path.with_suffix(".head-unfinished")
        with temporary.open("wb") as file:
            file.write(head)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._head_path)

    def restore_head(self) -> None:
        """Write the first bytes back; to be called when nobody else has the file."""
        head = self.head()
        if not head:
            return
        was_sound = self.is_sound()
        overwrite_head(self.path, head)
        self._head_path.unlink()
        if was_sound:
            self.seal()

    def link_from(self, path: Path) -> bool:
        """Let another's file be it, too; returns whether the file system can do that."""
        temporary = self.path.with_suffix(".link-unfinished")
        temporary.unlink(missing_ok=True)
        if not linked(path, temporary):
            return False
        self.take_over(temporary)
        return True

    def take_over(self, path: Path) -> None:
        """Let that file be it from now on; it is on the same file system."""
        path.replace(self.path)
        self._head_path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove it from the cache; elsewhere the file stays."""
        paths = (self._seen_path, self.path, self._head_path, self.part_path, self._known_path)
        for path in paths:
            path.unlink(missing_ok=True)

    def _state(self) -> dict[str, int] | None:
        """What stays the same while nobody writes to the file or replaces it."""
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return {"inode": status.st_ino, "size": status.st_size, "mtime_ns": status.st_mtime_ns}

    def _note(self) -> None:
        self._seen_path.write_text(json.dumps(self._state()))
