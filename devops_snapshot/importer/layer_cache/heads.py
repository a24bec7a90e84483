"""The first bytes of files, which may be others in a storage pool than in the cache."""

from __future__ import annotations

import os
from pathlib import Path


def overwrite_head(path: Path, head: bytes) -> None:
    """Let a file begin with other bytes, durably."""
    if not head:
        return
    with path.open("r+b") as file:
        file.write(head)
        file.flush()
        os.fsync(file.fileno())
