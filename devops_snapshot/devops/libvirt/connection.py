"""Connections to libvirt, its errors in one line, and looking things up there.

A libvirt connection serves five requests at a time (``max_client_requests``), so threads that save
memory or move disks open one of their own: :func:`open_connection`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import libvirt

from devops_snapshot.errors import ConflictError, HypervisorError

LOG = logging.getLogger(__name__)

T = TypeVar("T")

EXISTS_CODES = frozenset(
    {libvirt.VIR_ERR_DOM_EXIST, libvirt.VIR_ERR_NETWORK_EXIST, libvirt.VIR_ERR_STORAGE_VOL_EXIST}
)

_shared: dict[tuple[int, str], libvirt.virConnect] = {}
_lock = threading.Lock()


def _log_instead_of_printing(_context: object, error: tuple[Any, ...]) -> None:
    """What libvirt would print to standard error; every such error is raised as well."""
    LOG.debug("libvirt: %s", error[2])


libvirt.registerErrorHandler(_log_instead_of_printing, None)


def shared_connection(uri: str) -> libvirt.virConnect:
    """The connection of this process to ``uri``, opened on first use and again when it broke.

    :raises HypervisorError: libvirt cannot be reached
    """
    key = (os.getpid(), uri)
    with _lock:
        connection = _shared.get(key)
        if connection is None or not _is_alive(connection):
            connection = _shared[key] = _open(uri)
        return connection


@contextmanager
def open_connection(uri: str) -> Iterator[libvirt.virConnect]:
    """A connection of one's own to ``uri``, closed afterwards.

    :raises HypervisorError: libvirt cannot be reached
    """
    connection = _open(uri)
    try:
        yield connection
    finally:
        with suppress(libvirt.libvirtError):
            connection.close()


@contextmanager
def asking(uri: str, what: str) -> Iterator[None]:
    """Turn libvirt's errors in the block into one clear line.

    :param what: what is asked of libvirt, as in "cannot <what>"
    :raises ConflictError: something of that name is there already
    :raises HypervisorError: any other refusal
    """
    try:
        yield
    except libvirt.libvirtError as error:
        kind = ConflictError if error.get_error_code() in EXISTS_CODES else HypervisorError
        raise kind(f"cannot {what} on {uri}: {one_line(error)}") from error


def one_line(error: libvirt.libvirtError) -> str:
    """What libvirt says, without line breaks and without a full stop at the end."""
    return " ".join((error.get_error_message() or str(error)).split()).rstrip(".")


def found(lookup: Callable[[str], T], key: str | None, absent_code: int) -> T | None:
    """What ``lookup`` finds under ``key``; None when there is no key or nothing under it."""
    if not key:
        return None
    try:
        return lookup(key)
    except libvirt.libvirtError as error:
        if error.get_error_code() == absent_code:
            return None
        raise


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


def find_volume(connection: libvirt.virConnect, key: str | None) -> libvirt.virStorageVol | None:
    """The storage volume of that key (its path), or None; also None while its pool is stale."""
    return found(connection.storageVolLookupByKey, key, libvirt.VIR_ERR_NO_STORAGE_VOL)


def _open(uri: str) -> libvirt.virConnect:
    try:
        return libvirt.open(uri)
    except libvirt.libvirtError as error:
        reason = one_line(error)
        raise HypervisorError(
            f"cannot connect to libvirt at {uri}: {reason}", hint=_connection_hint(reason)
        ) from error


def _connection_hint(reason: str) -> str:
    """libvirt tells these causes apart only in its text."""
    if "Permission denied" in reason or "authentication" in reason:
        return "Add your user to the group libvirt and log in again"
    if "No such file" in reason or "Connection refused" in reason:
        return "Is libvirtd running there?"
    return ""


def _is_alive(connection: libvirt.virConnect) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False
