"""Files in a driver's storage pool that are no volumes of a node: memory states."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePath
from typing import Any

from .. import connection, storage_pool
from ..contract import Pool
from ..errors import ConflictError, DevopsError, UnsupportedError
from ..hypervisor import asking

MAX_FILE_NAME = 255
"""Bytes."""

BLOCK = 512
"""Bytes; the unit of ``st_blocks`` on Linux."""


def pool_of(driver: Pool) -> Any:
    """The driver's ``virStoragePool``.

    :raises NotFoundError: it is not there; the message names those that are
    :raises HypervisorError: it is not started
    """
    return storage_pool.get_pool(
        driver.conn, driver.storage_pool_name, uri=driver.connection_string
    )


def pool_directory(driver: Pool) -> Path:
    """Where the pool's files are.

    :raises UnsupportedError: the pool is not a directory (LVM, Ceph, iSCSI ...)
    """
    pool = pool_of(driver)
    with asking(f"asking for the path of storage pool {pool.name()}"):
        directory = storage_pool.directory_of(pool)
    if directory is None:
        raise UnsupportedError(f"storage pool {pool.name()!r} is no directory of files")
    return directory


def free_file(driver: Pool, name: str) -> Path:
    """A path in the pool at which nothing is, for a new file of about that name.

    libvirt silently overwrites an existing memory file, so the caller must not guess.

    :raises ConflictError: there are a thousand files of that name
    """
    directory = pool_directory(driver)
    for suffix in ("", *(f"-{number}" for number in range(1000))):
        path = directory / fitting(name, suffix)
        if not is_there(driver, str(path)):
            return path
    raise ConflictError(
        f"storage pool {driver.storage_pool_name!r} is full of files named {name}-N"
    )


def fitting(name: str, suffix: str = "") -> str:
    """Name and suffix, within what a file's name may have.

    A longer name becomes the MD5 of the whole (32 hex digits) and as much of it as fits, as
    fuel-devops does with the names of volumes.
    """
    room = MAX_FILE_NAME - len(suffix.encode())
    if len(name.encode()) > room:
        digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        name = (digest.encode() + name.encode())[:room].decode(errors="ignore")
    return name + suffix


def is_local(driver: Pool) -> bool:
    """Whether its libvirt is this host's, so that a path means the same file to both."""
    return connection.is_local(driver.connection_string)


def is_ours(driver: Pool, path: str) -> bool:
    """Whether programs that we run may write to a file, or would not find it; else QEMU may."""
    return is_local(driver) and (os.access(path, os.R_OK | os.W_OK) or not os.path.lexists(path))


def is_there(driver: Pool, path: str) -> bool:
    """Whether there is such a file. libvirt may remember one that is gone, so it is asked last."""
    if not is_local(driver):
        return volume_at(driver, path) is not None
    try:
        return Path(path).exists()
    except PermissionError:
        return volume_at(driver, path) is not None


def allocated(driver: Pool, path: str) -> int:
    """Bytes that a file takes on disk, holes left out; 0 if it is not there."""
    if is_local(driver):
        try:
            return Path(path).stat().st_blocks * BLOCK
        except FileNotFoundError:
            return 0
        except PermissionError:
            pass  # then libvirt may tell
    volume = volume_at(driver, path)
    if volume is None:
        return 0
    with asking(f"asking for the size of {path}"):
        return int(volume.info()[2])


def volume_at(driver: Pool, path: PurePath | str) -> Any | None:
    """The ``virStorageVol`` at a path, or None."""
    with asking(f"looking up {path}"):
        return storage_pool.find_volume(driver.conn, str(path))


def refresh(driver: Pool) -> None:
    """Let the pool see files that appeared without its doing."""
    with asking(f"refreshing storage pool {driver.storage_pool_name}"):
        storage_pool.refresh(pool_of(driver))


def remove_file(driver: Pool, path: PurePath | str) -> None:
    """Delete a file, through the pool where it lies in it; one that is gone is no error.

    :raises DevopsError: it cannot be deleted
    """
    volume = None
    if PurePath(path).parent == pool_directory(driver):
        with asking(f"deleting {path}"):
            volume = storage_pool.find_by_path(pool_of(driver), str(path))
            if volume is not None:
                volume.delete(0)
    if volume is None and is_local(driver):
        _unlink(Path(path))


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise DevopsError(f"{path} cannot be deleted: {error.strerror}") from error
