"""Second names, and copies that cost nothing, where the file system can make them."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

_FICLONE = 0x40049409  # linux/fs.h
_CANNOT_CLONE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS)
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP)


def linked(file: Path, name: Path) -> bool:
    """Give a file a second name; returns whether that can be."""
    return _is_possible(lambda: os.link(file, name, follow_symlinks=False))


def linked_open(descriptor: int, name: Path) -> bool:
    """As :func:`linked`, of the very file that is open, whatever its name means by now."""
    opened = f"/proc/self/fd/{descriptor}"
    # With a directory Python calls linkat(2), which alone can follow; the path is absolute.
    return _is_possible(lambda: os.link(opened, name, src_dir_fd=descriptor, follow_symlinks=True))


def _is_possible(link: Callable[[], None]) -> bool:
    try:
        link()
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return False
        raise
    return True


def cloned(source: Path, target: Path) -> bool:
    """Make a new file that shares the data of another until one of them is written to.

    Returns whether that can be; if not, there is no new file.
    """
    with source.open("rb") as file:
        return cloned_open(file.fileno(), target)


def cloned_open(descriptor: int, target: Path) -> bool:
    """As :func:`cloned`, of the very file that is open."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with os.fdopen(os.open(target, flags, 0o600), "wb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, descriptor)
        except OSError as error:
            target.unlink()
            if error.errno in _CANNOT_CLONE:
                return False
            raise
    return True
