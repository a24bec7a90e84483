"""Taking an environment's files into the spool, without copying them.

A clone (where the file system can share blocks) is a file of its own from the first moment. A
second name is not: whoever writes to the file by its other name writes to this one, too. So only
files that are never written to again by right get one, and :mod:`~.guard` keeps the rest of the
world from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import NotFoundError, UnsupportedError
from ..links import cloned_open, linked_open
from .job import sync_directory

Opening = Callable[[str], AbstractContextManager[int]]
"""Opens the file of a path for reading; in the block its descriptor is open."""


class CannotDetachError(UnsupportedError):
    """These files cannot leave their environment without being copied.

    :ivar snapshots: what was chosen, or taken, to be exported
    :ivar export_id: that it was to have; whoever exports it now gives it that one, so that it does
        not come twice if a worker has taken it in and could not say so
    """

    snapshots: tuple[str, ...] = ()
    export_id: str | None = None


@contextmanager
def opened_as_named(path: str) -> Iterator[int]:
    """Whatever file it is.

    :raises OSError: it cannot be opened
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass
class Draft:
    """A job that is being made.

    :param directory: not yet under the job's own name
    """

    directory: Path
    linked: list[int] = field(default_factory=list)

    def take(
        self,
        paths: Sequence[str],
        *,
        sealed: frozenset[str],
        opening: Opening = opened_as_named,
    ) -> None:
        """Give all files a place in the spool.

        :param sealed: paths of files that nothing will write to in place
        :raises CannotDetachError: saying which one cannot be, why, and what helps
        """
        files = self.directory / "files"
        files.mkdir()
        for number, path in enumerate(paths):
            if self._take(path, files / str(number), opening, is_sealed=path in sealed):
                self.linked.append(number)
        sync_directory(files)

    def _take(self, path: str, name: Path, opening: Opening, *, is_sealed: bool) -> bool:
        """Return whether it is a second name."""
        try:
            with opening(path) as file:
                if cloned_open(file, name):
                    return False
                if is_sealed and linked_open(file, name):
                    return True
        except FileNotFoundError as error:
            raise NotFoundError(f"{path}, which is part of the environment, is gone") from error
        except OSError as error:
            raise CannotDetachError(
                f"{path} cannot be taken into the spool: {error.strerror}", hint=_HINT
            ) from error
        if not is_sealed:
            raise CannotDetachError(
                f"{path} will be written to by its guest, and its file system cannot clone it",
                hint="Take external snapshots (SNAPSHOTS_EXTERNAL=true), or use XFS or Btrfs",
            )
        raise CannotDetachError(
            f"{path} cannot have a second name in {self.directory.parent}", hint=_HINT
        )


_HINT = "The spool has to be on the file system of the storage pool, and its owner root"
