"""Whether a storage node keeps what the repository relies on; asked once, when it is set up."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress

from devops_snapshot.errors import ConflictError, NotFoundError, StorageError

from .interface import Remote

_LARGE = 9 * 1024 * 1024  # bytes; enough for S3's other way to create objects, in parts
_BLOCK = 1024 * 1024


def require_exclusive_creation(remote: Remote) -> None:
    """Try whether creating an object, and renaming to it, leave one that exists as it was.

    Leaves nothing behind. The root directory must exist.

    :raises StorageError: the storage node replaces objects
    """
    name = f".probe-{secrets.token_hex(8)}"
    first, second = f"{name}-1", f"{name}-2"

    def write(path: str, size: int) -> None:
        remote.write(path, _blocks(size), staging=f"{name}-unfinished")

    write(first, 1)
    try:
        _require_conflict(remote, "write", lambda: write(first, 2))
        if not remote.rename_is_move:
            _require_conflict(remote, "write in parts", lambda: write(first, _LARGE))
        write(second, 2)
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


def _blocks(size: int) -> Iterator[bytes]:
    for start in range(0, size, _BLOCK):
        yield bytes(min(_BLOCK, size - start))
