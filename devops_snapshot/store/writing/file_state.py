"""What tells that a file is still the one it was, without reading it."""

from __future__ import annotations

import ctypes
import os
import struct
import time
from dataclasses import dataclass

SETTLED_SECONDS = 2.0  # some file systems count time in steps as coarse as this

_AT_EMPTY_PATH = 0x1000  # linux/fcntl.h
_STATX_BTIME = 0x800  # linux/stat.h, as the places of these fields of struct statx
_STATX_SIZE = 256
_MASK = struct.Struct("=I")
_BIRTH_AT, _BIRTH = 80, struct.Struct("=qI")  # seconds, nanoseconds


@dataclass(frozen=True)
class FileState:
    """A file and its times, in nanoseconds since 1970.

    :param file: file system, inode and birth time: no other file has the same, not even later
    :param modified: mtime, which anybody can set
    :param changed: ctime, which the kernel sets whenever content, owner, mode or labels change
    """

    file: str
    size: int
    modified: int
    changed: int

    def is_settled(self) -> bool:
        """Say whether a change from now on would surely give the file another time."""
        now = time.time_ns()
        return now - max(self.modified, self.changed) >= SETTLED_SECONDS * 1e9


def state_of(descriptor: int) -> FileState | None:
    """Return the state of an open file; None where the file system keeps no birth times."""
    birth = _birth_time(descriptor)
    if birth is None:
        return None
    status = os.fstat(descriptor)
    file_system = os.fstatvfs(descriptor).f_fsid or status.st_dev
    return FileState(
        file=f"{file_system:x}-{status.st_ino:x}-{birth:x}",
        size=status.st_size,
        modified=status.st_mtime_ns,
        changed=status.st_ctime_ns,
    )


def _birth_time(descriptor: int) -> int | None:
    """Ask statx(2), which Python's ``os`` lacks."""
    buffer = ctypes.create_string_buffer(_STATX_SIZE)
    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except AttributeError:  # a C library from before 2018
        return None
    if statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_BTIME, buffer):
        return None
    (mask,) = _MASK.unpack_from(buffer)
    if not mask & _STATX_BTIME:
        return None
    seconds, nanoseconds = _BIRTH.unpack_from(buffer, _BIRTH_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)
