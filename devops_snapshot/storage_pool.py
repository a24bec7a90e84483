"""Storage pools of libvirt: finding them and their volumes, keeping its knowledge up to date."""

from __future__ import annotations

import time
from pathlib import Path

import libvirt
from lxml import etree

from .connection import found, refused_as
from .errors import HypervisorError, NotFoundError

REFRESH_PATIENCE = 10.0
"""Seconds to wait for uploads into the pool, during which libvirt does not refresh it."""

DIRECTORY_TYPES = ("dir", "fs", "netfs")


def get_pool(connection: libvirt.virConnect, name: str, *, uri: str) -> libvirt.virStoragePool:
    """The running storage pool of that name.

    :raises NotFoundError: it is not there; the message lists those that are
    :raises HypervisorError: it is not started
    """
    with refused_as(f"cannot look up storage pool '{name}' on {uri}"):
        pool = found(connection.storagePoolLookupByName, name, libvirt.VIR_ERR_NO_STORAGE_POOL)
        if pool is None:
            there = ", ".join(sorted(p.name() for p in connection.listAllStoragePools())) or "none"
            raise NotFoundError(
                f"storage pool '{name}' is not there on {uri}; pools: {there}",
                hint="Define it, or name another one in storage_pool_name or STORAGE_POOL_NAME",
            )
        if not pool.isActive():
            raise HypervisorError(
                f"storage pool '{name}' on {uri} is not started",
                hint=f"Start it: virsh -c '{uri}' pool-start '{name}'",
            )
    return pool


def directory_of(pool: libvirt.virStoragePool) -> Path | None:
    """Where the pool's files are; None for one that has none (LVM, Ceph, iSCSI ...).

    :raises libvirt.libvirtError: libvirt does not answer
    """
    root = etree.fromstring(pool.XMLDesc())
    path = root.findtext("target/path")
    return Path(path) if path and root.get("type") in DIRECTORY_TYPES else None


def find_by_name(pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol | None:
    """The volume of that name in the pool, or None."""
    return found(pool.storageVolLookupByName, name, libvirt.VIR_ERR_NO_STORAGE_VOL)


def find_volume(connection: libvirt.virConnect, path: str | None) -> libvirt.virStorageVol | None:
    """The volume of that path (its key) in any pool, or None; also None while its pool is stale."""
    return found(connection.storageVolLookupByKey, path, libvirt.VIR_ERR_NO_STORAGE_VOL)


def find_by_path(pool: libvirt.virStoragePool, path: str) -> libvirt.virStorageVol | None:
    """The volume of that path, or None; the pool is refreshed if libvirt does not know it.

    Files that libvirt's own snapshots made are not known before a refresh.
    """
    volume = find_volume(pool.connect(), path)
    if volume is None:
        refresh(pool)
        volume = find_volume(pool.connect(), path)
    return volume


def refresh(pool: libvirt.virStoragePool) -> None:
    """Let libvirt read the pool again, after waiting for uploads into it.

    :raises libvirt.libvirtError: the pool is busy for longer than :data:`REFRESH_PATIENCE`
    """
    deadline = time.monotonic() + REFRESH_PATIENCE
    while True:
        try:
            pool.refresh()
        except libvirt.libvirtError as error:
            busy = "asynchronous jobs" in (error.get_error_message() or "")
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
