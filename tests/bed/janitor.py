"""Runs as a process of its own: removes a bed's directory once its owner is gone.

``janitor.py DIRECTORY`` waits for the end of its standard input, that is, until the owner closes
the pipe or dies in whatever way, and then removes the directory. The keepers end at the same
moment; until their processes are gone they may still write, so removing is tried again.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

PATIENCE = 20.0  # seconds


def remove(directory: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.02)


if __name__ == "__main__":
    sys.stdin.read()
    remove(Path(sys.argv[1]))
