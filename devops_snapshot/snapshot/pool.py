"""Files in a driver's storage pool that are no volumes of a node: memory states."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

import libvirt

from ..contract import Pool
from ..errors import ConflictError, NotFoundError, UnsupportedError
from ..hypervisor import asking
from .domain_xml import parse

MAX_FILE_NAME = 255


def pool_of(driver: Pool) -> Any:
    """The driver's ``virStoragePool``.

    :raises NotFoundError: it is not there; the message names those that are
    """
    with asking(f"looking for storage pools on {driver.connection_string}"):
        pools = {pool.name(): pool for pool in driver.conn.listAllStoragePools()}
    if driver.storage_pool_name not in pools:
        there = ", ".join(sorted(pools)) or "none"
        raise NotFoundError(
            f"storage pool {driver.storage_pool_name!r} is not there on "
            f"{driver.connection_string}; it has: {there}",
            hint="Create it with 'virsh pool-define-as', or name another in STORAGE_POOL_NAME",
        )
    pool = pools[driver.storage_pool_name]
    if not pool.isActive():
        raise NotFoundError(
            f"storage pool {pool.name()!r} is not active",
            hint=f"Start it with 'virsh pool-start {pool.name()}'",
        )
    return pool


def pool_directory(driver: Pool) -> Path:
    """Where the pool's files are.

    :raises UnsupportedError: the pool is not a directory (LVM, Ceph, iSCSI ...)
    """
    pool = pool_of(driver)
    with asking(f"asking for the path of storage pool {pool.name()}"):
        root = parse(pool.XMLDesc(0))
    path = root.findtext("target/path")
    if root.get("type") not in ("dir", "fs", "netfs") or not path:
        raise UnsupportedError(
            f"storage pool {pool.name()!r} is of type {root.get('type')!r}, no directory of files"
        )
    return Path(path)


def free_file(driver: Pool, name: str) -> Path:
    """A path in the pool at which nothing is, for a new file of about that name.

    libvirt silently overwrites an existing memory file, so the caller must not guess.

    :raises ConflictError: the name is too long for a file
    """
    directory = pool_directory(driver)
    for attempt in ("", *(f"-{number}" for number in range(1000))):
        if len((name + attempt).encode()) > MAX_FILE_NAME:
            raise ConflictError(f"{name!r} is too long for a file name")
        path = directory / (name + attempt)
        if not path.exists() and volume_at(driver, path) is None:
            return path
    raise ConflictError(
        f"storage pool {driver.storage_pool_name!r} is full of files named {name}-N"
    )


def volume_at(driver: Pool, path: PurePath | str) -> Any | None:
    """The ``virStorageVol`` at a path, or None."""
    try:
        return driver.conn.storageVolLookupByPath(str(path))
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
            raise
        return None


def refresh(driver: Pool) -> None:
    """Let the pool see files that appeared without its doing."""
    with asking(f"refreshing storage pool {driver.storage_pool_name}"):
        pool_of(driver).refresh()


def remove_file(driver: Pool, path: PurePath | str) -> None:
    """Delete a file, through the pool where it knows it; one that is gone is no error."""
    volume = volume_at(driver, path)
    if volume is None:
        Path(path).unlink(missing_ok=True)
        return
    with asking(f"deleting {path}"):
        volume.delete(0)
