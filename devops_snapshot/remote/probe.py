"""Whether a storage node keeps what the repository relies on; asked once, when it is set up."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress

from devops_snapshot.errors import ConflictError, NotFoundError, StorageError

from .interface import Remote


def require_exclusive_creation(remote: Remote) -> None:
    """Try whether creating an object, and renaming to it, leave one that exists as it was.

    Leaves nothing behind. The root directory must exist.

    :raises StorageError: the storage node replaces objects
    """
    name = f".probe-{secrets.token_hex(8)}"
    first, second = f"{name}-1", f"{name}-2"

    def write(path: str) -> None:
        remote.write(path, [path.encode()], staging=f"{name}-unfinished")

    write(first)
    try:
        _require_conflict(remote, "write", lambda: write(first))
        write(second)
        try:
            _require_conflict(remote, "rename", lambda: remote.rename(first, second))
        finally:
            _remove(remote, second)
    finally:
        _remove(remote, first)


def _remove(remote: Remote, path: str) -> None:
    with suppress(NotFoundError):  # it was renamed, which will be told
        remote.remove(path)


def _require_conflict(remote: Remote, what: str, attempt: Callable[[], None]) -> None:
    try:
        attempt()
    except ConflictError:
        return
    raise StorageError(
        f"{remote.url} replaces an object that exists ({what}), so clients could destroy "
        "each other's data",
        hint="Use a store with conditional writes (If-None-Match), or another SFTP server",
    )
