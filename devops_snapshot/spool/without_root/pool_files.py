"""Files of libvirt's storage pools, opened for users who may ask libvirt for them.

Whoever may use libvirt can read every file in the directory of a storage pool by its streams; so no
more is opened here. Names are not trusted for longer than it takes to open them: the file that is
checked is the one that is taken.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

import libvirt

from ...connection import open_connection, refused_as
from ...storage_pool import directory_of
from ..capture import CannotDetachError


class PoolFiles:
    """The files in some directories, and in none below them."""

    def __init__(self, directories: Iterable[Path]) -> None:
        self._directories = frozenset(directories)

    @classmethod
    def of_libvirt(cls, uri: str) -> PoolFiles:
        """Those of all storage pools that are started.

        :raises HypervisorError: libvirt cannot be asked
        """
        with open_connection(uri) as connection, refused_as("looking for storage pools failed"):
            pools = connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
            return cls(directory for directory in map(directory_of, pools) if directory)

    @contextmanager
    def opened(self, path: str) -> Iterator[int]:
        """Open a file for reading; yields its descriptor.

        :raises CannotDetachError: it is no regular file, or in no storage pool
        :raises OSError: it cannot be opened
        """
        name = self._name(path)
        with ExitStack() as stack:
            directory = _open(str(name.parent), os.O_PATH | os.O_DIRECTORY, stack)
            # Opened so, nothing happens to a device or a pipe, and a link is not followed.
            found = _open(name.name, os.O_PATH | os.O_NOFOLLOW, stack, directory=directory)
            if not stat.S_ISREG(os.fstat(found).st_mode):
                raise CannotDetachError(f"{path} is no regular file", hint=_HINT)
            yield _open(f"/proc/self/fd/{found}", os.O_RDONLY, stack)

    def _name(self, path: str) -> PurePosixPath:
        name = PurePosixPath(path)
        is_plain = str(name) == path and name.name not in ("", "..") and "\0" not in path
        if not is_plain or Path(name.parent) not in self._directories:
            raise CannotDetachError(
                f"{path} is in no storage pool of libvirt's, so the worker does not take it",
                hint=_HINT,
            )
        return name


def _open(name: str, flags: int, stack: ExitStack, *, directory: int | None = None) -> int:
    descriptor = os.open(name, flags | os.O_CLOEXEC, dir_fd=directory)
    stack.callback(os.close, descriptor)
    return descriptor


_HINT = "Export as root, or define a storage pool for its directory"
