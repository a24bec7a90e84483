"""What the repository asks of the place where it lives: a few operations on named objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from devops_snapshot.errors import FormatError, StorageError

LARGEST_WHOLE = 96 << 20
"""Bytes of an object that is read as a whole: nothing larger was written for that."""

MOST_ENTRIES = 200_000
"""Of one directory: a repository of a petabyte has not so many in any."""

LONGEST_ENTRY = 1024
"""Characters of a name: as many bytes as a key of S3 has at most."""

#: What to do on a full disk. To delete takes a little room, too: that is what ballast is for.
FULL_HINT = "Remove the ballast on the storage node, then delete exports and collect"


class AccessError(StorageError):
    """The storage node refuses this user the operation."""


@dataclass(frozen=True)
class Entry:
    """An object or directory as a listing shows it.

    :param size: bytes
    :param modified: seconds since 1970 by the storage node's own clock
    """

    name: str
    size: int
    modified: float
    is_directory: bool


class Remote(Protocol):
    """A directory on a storage node. Paths are relative to it, with ``/`` between the parts.

    ``rename_is_move``: whether another name costs the same for a large object as for a small one.

    All methods may be called from several threads. They raise :class:`NotFoundError` when what they
    act on is missing, :class:`ConflictError` when the target exists, :class:`AccessError` without
    permission, and :class:`StorageError` for everything else.
    """

    rename_is_move: bool

    @property
    def url(self) -> str:
        """Names the place in messages."""

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return ``length`` bytes from ``offset``, fewer only where the object ends before.

        :param length: None: all, of an object whose size nobody has looked at
        :raises FormatError: that is more than :data:`LARGEST_WHOLE`
        """

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        """Create ``path`` with all of ``data``, durably or not at all; return the number of bytes.

        :param staging: unused path for the unfinished object, in a directory that exists
        :raises ConflictError: ``path`` exists; it is left as it was
        """

    def rename(self, source: str, target: str) -> None:
        """Give an object or directory another name, refusing a target that exists."""

    def revoke(self, directory: str, target: str) -> None:
        """Rename a directory that somebody else may be working in, and shut them out for good.

        From then on, whoever knows it by its old name can publish nothing out of it: ``write``
        with ``staging`` in it, ``rename`` into it, and ``rename`` of its object ``manifest``, which
        may be lost by this, fail with :class:`NotFoundError`.
        """

    def list(self, path: str) -> list[Entry]:
        """Return what a directory holds, in no order; a missing directory holds nothing.

        :raises FormatError: as :func:`moderately_many`
        """

    def stat(self, path: str) -> Entry:
        """Describe one object or directory."""

    def remove(self, path: str) -> None:
        """Delete one object, or one empty directory."""

    def mkdir(self, path: str) -> None:
        """Make sure that a directory and its parents exist."""

    def free_space(self) -> int | None:
        """Return the number of bytes that this user can still write, None where nobody knows."""


def require_moderate(size: int, where: str) -> int:
    """Return the size of an object that is to be read as a whole.

    :raises FormatError: it is too large
    """
    if size > LARGEST_WHOLE:
        raise FormatError(
            f"{where} is damaged: it has {size} bytes, {LARGEST_WHOLE} at most make sense",
            hint="Somebody has put something else there",
        )
    return size


def moderately_many(entries: Iterable[Entry], where: str) -> Iterator[Entry]:
    """Yield what a directory holds: a hostile storage node could list without end.

    :raises FormatError: it is more than :data:`MOST_ENTRIES`, or a name is too long
    """
    for number, entry in enumerate(entries, 1):
        if number > MOST_ENTRIES:
            told = f"more than {MOST_ENTRIES} objects are listed, which no repository has"
        elif len(entry.name) > LONGEST_ENTRY:
            told = f"an object with a name of {len(entry.name)} characters is listed"
        else:
            yield entry
            continue
        raise FormatError(
            f"{where} is damaged: {told}", hint="Somebody has put something else there"
        )
