"""What this machine remembers of a repository: copies of objects that never change.

Losing the cache costs time and nothing else, so every failure to read or write it is forgiven, and
whoever reads from it checks what was read exactly as if it had come from the storage node.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

log = logging.getLogger(__name__)


class Cache:
    """Small objects of one repository, below ``$XDG_CACHE_HOME`` or ``~/.cache``."""

    def __init__(self, repository_id: str) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        self._root = Path(base).expanduser() / "devops_snapshot" / repository_id

    def get(self, path: str) -> bytes | None:
        try:
            return (self._root / path).read_bytes()
        except OSError:
            return None

    def put(self, path: str, data: bytes) -> None:
        full = self._root / path
        try:
            full.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=full.parent, prefix=".", delete=False) as file:
                file.write(data)
            Path(file.name).replace(full)
        except OSError as error:
            log.debug("Not cached: %s: %s", full, error)

    def forget(self, path: str) -> None:
        with suppress(OSError):
            (self._root / path).unlink()

    def names(self, directory: str) -> set[str]:
        """Return the paths of what is cached in a directory and the directories in it."""
        with suppress(OSError):
            return {
                str(file.relative_to(self._root))
                for file in (self._root / directory).rglob("[!.]*")
                if file.is_file()
            }
        return set()
