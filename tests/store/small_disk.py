"""File systems that are soon full."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")


@contextmanager
def small_file_system(path: Path, size: str) -> Iterator[None]:
    with _mounted(path, "-t", "tmpfs", "-o", f"size={size},mode=1777", "none"):
        yield


@contextmanager
def small_disk(path: Path, image: Path, kind: str) -> Iterator[None]:
    """A file system of some kind, as small as it can be."""
    if shutil.which(f"mkfs.{kind}") is None:
        pytest.skip(f"there is no mkfs.{kind}")
    with image.open("wb") as file:
        file.truncate({"ext4": 30, "xfs": 300, "btrfs": 110}[kind] << 20)
    subprocess.run([f"mkfs.{kind}", "-q", image], check=True, capture_output=True)
    with _mounted(path, "-o", "loop", image):
        yield


def fill(path: Path) -> None:
    """Write zeros until the file system has no room for another page."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(path).f_bavail == 0


def fill_to_the_last(directory: Path) -> None:
    """Take all that a file system gives, be it of data or of names."""
    for size in (1 << 20, 4096, 512):
        with suppress(OSError), (directory / f"filler-{size}").open("wb", buffering=0) as file:
            while file.write(bytes(size)) == size:
                pass
            os.fsync(file.fileno())
    with suppress(OSError):
        for number in range(3000):
            (directory / f"small-{number}").write_bytes(b"x")
    os.sync()


@contextmanager
def _mounted(path: Path, *arguments: str | Path) -> Iterator[None]:
    subprocess.run(["mount", *arguments, path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)
