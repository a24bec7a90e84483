"""Keeping QEMU and ``qemu-img`` from writing to files while they are read.

QEMU marks with locks on single bytes of an image what it does with it, and what it lets others do
(``block/file-posix.c``: byte 100 + n for the permission n it has, 200 + n for one it does not
share; n = 1 is writing). A shared lock on byte 201 therefore keeps everybody who asks from writing,
``virsh blockcommit`` and ``qemu-img commit`` included, and lets an image go on being used as a
backing file.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from .errors import ConflictError, NotFoundError

_HAS_WRITE, _SHARES_NO_WRITE = 101, 201
_FLOCK = struct.Struct("@hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid of Linux


@contextmanager
def guarded(paths: Iterable[str]) -> Iterator[None]:
    """Inside, nobody who heeds QEMU's locks writes to these files.

    :raises ConflictError: somebody has one open for writing
    :raises NotFoundError: one is not there
    """
    with held_open(paths):
        yield


@contextmanager
def held_open(paths: Iterable[str]) -> Iterator[list[int]]:
    """As :func:`guarded`; yields the descriptors that hold the locks, and can be inherited.

    :raises ConflictError: somebody has one open for writing
    :raises NotFoundError: one is not there
    """
    descriptors = []
    with ExitStack() as stack:
        for path in paths:
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except OSError as error:
                raise NotFoundError(f"{path} cannot be opened: {error.strerror}") from error
            stack.callback(os.close, descriptor)
            _lock(descriptor, path)
            descriptors.append(descriptor)
        yield descriptors


def _lock(descriptor: int, path: str) -> None:
    # Locks of an open file description: they go when it is closed, and only then.
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _request(fcntl.F_RDLCK, _SHARES_NO_WRITE))
    found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _request(fcntl.F_WRLCK, _HAS_WRITE))
    if _FLOCK.unpack(found)[0] != fcntl.F_UNLCK:
        raise ConflictError(f"{path} is being written to", hint="Try again when that has ended")


def _request(kind: int, byte: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0)
