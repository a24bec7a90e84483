"""Opening libvirt, and its refusals as errors of ours; free of models.

A libvirt connection serves five requests at a time (``max_client_requests``), so threads that keep
libvirt busy open one of their own: :func:`open_connection`.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import urlsplit

import libvirt

from .errors import ConflictError, HypervisorError

T = TypeVar("T")

EXISTS_CODES = frozenset(
    {libvirt.VIR_ERR_DOM_EXIST, libvirt.VIR_ERR_NETWORK_EXIST, libvirt.VIR_ERR_STORAGE_VOL_EXIST}
)


_START_PATIENCE = 600.0  # seconds; gigabytes of memory come from a disk


LOCAL_HOSTS = (None, "", "localhost", "127.0.0.1", "::1")


def is_local(uri: str) -> bool:
    """Whether libvirt is on this host, so that a path means the same file to both."""
    return urlsplit(uri).hostname in LOCAL_HOSTS


# Without a handler libvirt prints every error, which is raised as well. This one does nothing, and
# is not in Python, where a signal would be handled: what its handler raises there, such as Ctrl-C,
# becomes a SystemError of the call.
libvirt.registerErrorHandler(operator.is_, None)


@contextmanager
def refused_as(message: str) -> Iterator[None]:
    """Turn libvirt's errors in the block into one line: the message, and libvirt's reason.

    :raises ConflictError: something of that name is there already
    :raises HypervisorError: any other refusal
    """
    try:
        yield
    except libvirt.libvirtError as error:
        kind = ConflictError if error.get_error_code() in EXISTS_CODES else HypervisorError
        raise kind(f"{message}: {one_line(error)}") from error


def one_line(error: libvirt.libvirtError) -> str:
    """What libvirt says, without line breaks and without a full stop at the end."""
    return " ".join((error.get_error_message() or str(error)).split()).rstrip(".")


def connect(uri: str) -> Any:
    """A new ``virConnect``; whoever calls this closes it.

    :raises HypervisorError: libvirt cannot be reached
    """
    try:
        return libvirt.open(uri)
    except libvirt.libvirtError as error:
        reason = one_line(error)
        raise HypervisorError(
            f"cannot connect to libvirt at {uri}: {reason}", hint=_connection_hint(uri, reason)
        ) from error


@contextmanager
def open_connection(uri: str) -> Iterator[Any]:
    """A connection of one's own, closed afterwards.

    :raises HypervisorError: libvirt cannot be reached
    """
    connection = connect(uri)
    try:
        yield connection
    finally:
        with suppress(libvirt.libvirtError):
            connection.close()


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


def switch_off(domain: Any) -> None:
    """Stop a domain at once; nothing happens if it is off.

    What a killed client has begun goes on in libvirt, and libvirt 9.0 crashes if a domain is
    stopped whose memory is being restored; so the end of that is awaited first.

    :raises libvirt.libvirtError: libvirt refuses
    """
    deadline = time.monotonic() + _START_PATIENCE
    while domain.isActive() and _is_starting(domain) and time.monotonic() < deadline:
        time.sleep(0.05)
    if domain.isActive():
        _destroy(domain)


def _destroy(domain: Any) -> None:
    try:
        domain.destroy()
    except libvirt.libvirtError as error:
        ended_meanwhile = error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID
        if not ended_meanwhile or domain.isActive():
            raise


def _is_starting(domain: Any) -> bool:
    starting = [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP]
    return bool(domain.state() == starting)


def _connection_hint(uri: str, reason: str) -> str:
    """libvirt tells these causes apart only in its text."""
    if "publickey" in reason or "Host key verification" in reason:
        parts = urlsplit(uri)
        name = f"{parts.username}@{parts.hostname}" if parts.username else parts.hostname
        return f"'ssh {name} true' has to work without a question"
    if "Permission denied" in reason or "authentication" in reason:
        return "Add your user to the group libvirt and log in again"
    if "No such file" in reason or "Connection refused" in reason:
        return "Is libvirtd running there?"
    return ""
