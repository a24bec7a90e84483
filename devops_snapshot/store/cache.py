"""What this machine remembers of a repository: copies of objects that never change.

Losing the cache costs time and nothing else, so every failure to read or write it is forgiven, and
whoever reads from it checks what was read exactly as if it had come from the storage node.
"""

from __future__ import annotations

import logging
import os
import random
import time
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from .notes import Notes

log = logging.getLogger(__name__)

LIMIT = 2 << 30  # bytes of all files together
_TRIM_EVERY = LIMIT // 32  # bytes put; by chance, so that processes need not count together
_UNFINISHED = ".unfinished-"
_STALE = 24 * 3600.0  # seconds after which nobody is going to finish a file


class Cache:
    """Objects of one repository, below ``$XDG_CACHE_HOME`` or ``~/.cache``.

    :ivar directory: where they lie; others may keep files in it whose names begin with a dot
    :ivar notes: what is small
    """

    def __init__(self, repository_id: str) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        self.directory = Path(base).expanduser() / "devops_snapshot" / repository_id
        self.notes = Notes(self.directory / ".notes.sqlite3")

    def get(self, path: str) -> bytes | None:
        file = self.file(path)
        try:
            return file.read_bytes() if file else None
        except OSError:
            return None

    def file(self, path: str) -> Path | None:
        """Return the file of an object, which counts as used from now on."""
        full = self.directory / path
        try:
            os.utime(full)
        except OSError:
            return None
        return full

    def put(self, path: str, data: bytes) -> None:
        full = self.directory / path
        try:
            full.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=full.parent, prefix=_UNFINISHED, delete=False) as file:
                file.write(data)
            Path(file.name).replace(full)
        except OSError as error:
            log.debug("Not cached: %s: %s", full, error)
        if random.random() * _TRIM_EVERY < len(data):
            self.trim()

    def forget(self, path: str) -> None:
        with suppress(OSError):
            (self.directory / path).unlink()

    def names(self, directory: str) -> set[str]:
        """Return the paths of what is cached in a directory and the directories in it."""
        with suppress(OSError):
            return {
                str(file.relative_to(self.directory))
                for file in (self.directory / directory).rglob("[!.]*")
                if file.is_file()
            }
        return set()

    def trim(self, limit: int = LIMIT) -> None:
        """Forget what was not used for longest, until ``limit`` bytes remain."""
        self._remove_unfinished()
        found = []
        for path in self.names(""):
            with suppress(OSError):
                status = (self.directory / path).stat()
                found.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in found) - limit
        for _, size, path in sorted(found):
            if excess <= 0:
                return
            self.forget(path)
            excess -= size

    def _remove_unfinished(self) -> None:
        """Remove what killed processes have left."""
        with suppress(OSError):
            for file in self.directory.rglob(f"{_UNFINISHED}*"):
                if file.stat().st_mtime < time.time() - _STALE:
                    file.unlink()
