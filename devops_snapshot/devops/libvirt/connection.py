"""The connection that this process shares, and looking things up there."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager

import libvirt

from devops_snapshot.connection import connect, found, refused_as

_shared: dict[tuple[int, str], libvirt.virConnect] = {}
_lock = threading.Lock()


def shared_connection(uri: str) -> libvirt.virConnect:
    """The connection of this process to ``uri``, opened on first use and again when it broke.

    :raises HypervisorError: libvirt cannot be reached
    """
    key = (os.getpid(), uri)
    with _lock:
        connection = _shared.get(key)
        if connection is None or not _is_alive(connection):
            connection = _shared[key] = connect(uri)
        return connection


def asking(uri: str, what: str) -> AbstractContextManager[None]:
    """Turn libvirt's errors in the block into one clear line.

    :param what: what is asked of libvirt, as in "cannot <what>"
    :raises ConflictError: something of that name is there already
    :raises HypervisorError: any other refusal
    """
    return refused_as(f"cannot {what} on {uri}")


def find_domain(connection: libvirt.virConnect, uuid: str | None) -> libvirt.virDomain | None:
    """The domain of that UUID, or None."""
    return found(connection.lookupByUUIDString, uuid, libvirt.VIR_ERR_NO_DOMAIN)


def find_domain_by_name(connection: libvirt.virConnect, name: str) -> libvirt.virDomain | None:
    """The domain of that name, or None."""
    return found(connection.lookupByName, name, libvirt.VIR_ERR_NO_DOMAIN)


def find_network(connection: libvirt.virConnect, uuid: str | None) -> libvirt.virNetwork | None:
    """The network of that UUID, or None."""
    return found(connection.networkLookupByUUIDString, uuid, libvirt.VIR_ERR_NO_NETWORK)


def find_network_by_name(connection: libvirt.virConnect, name: str) -> libvirt.virNetwork | None:
    """The network of that name, or None."""
    return found(connection.networkLookupByName, name, libvirt.VIR_ERR_NO_NETWORK)


def _is_alive(connection: libvirt.virConnect) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False
