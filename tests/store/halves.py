"""Storage on which a rename is not one moment: others come between its two halves.

OpenSSH links and unlinks a file, so both names are there for a while; a bucket copies and deletes,
and the copy is an object of its own. Clients are killed between the halves, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath

from devops_snapshot.errors import ConflictError, NotFoundError, StorageError

from .stage import StagedRemote


class Linking(StagedRemote):
    """An actor's view of a place where files are renamed by a link and its removal.

    Whoever stood still in between for long does not remove a file's last name: the client does not,
    where it makes the two steps itself, and an SFTP server makes them without standing still.
    """

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        blocks = list(data)
        unfinished = partial(self._remote.write, staging, blocks, staging=f"{staging}-begun")
        written: int = self._actor.pass_through(f"write {staging}", unfinished)
        try:
            self._actor.pass_through(f"link {staging} {path}", partial(self._link, staging, path))
        except (StorageError, NotFoundError, ConflictError):
            with suppress(NotFoundError, StorageError):
                self._actor.pass_through(f"discard {staging}", partial(self._unlink, staging))
            raise
        self._actor.pass_through(f"unlink {staging}", partial(self._unlink, staging))
        return written

    def rename(self, source: str, target: str) -> None:
        if self._actor.pass_through(f"link {source} {target}", partial(self._link, source, target)):
            complete = partial(self._complete_link, source, target)
            self._actor.pass_through(f"unlink {source}", complete)

    def _link(self, source: str, target: str) -> bool:
        """Do the first half; a directory is renamed at once. Tell whether anything is left to do.

        Who finds both names completes the rename of somebody else.
        """
        old, new = self._path(source), self._path(target)
        if old.is_dir():
            self._remote.rename(source, target)
            return False
        try:
            os.link(old, new)
        except FileNotFoundError as error:
            raise NotFoundError(f"{source} or the place of {target} is missing") from error
        except FileExistsError as error:
            if not old.exists():
                raise NotFoundError(f"{source} is missing") from error
            if not old.samefile(new):
                raise ConflictError(f"{target} exists") from error
        return True

    def _complete_link(self, source: str, target: str) -> None:
        if not self._path(target).exists():
            raise NotFoundError(f"{target} is missing")
        self._unlink(source)

    def _unlink(self, source: str) -> None:
        self._path(source).unlink(missing_ok=True)

    def _path(self, path: str) -> Path:
        root: Path = self._remote._root  # type: ignore[attr-defined] # a LocalRemote, in all these tests
        return root / path


class Copying(Linking):
    """An actor's view of a place where objects are renamed by a copy and a deletion.

    It is written to without a staging object, as far as the lease is not revoked.
    """

    rename_is_move = False

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        blocks = list(data)
        effect = partial(self._remote.write, path, blocks, staging=staging)
        written: int = self._actor.pass_through(f"write {path}", effect)
        return written

    def rename(self, source: str, target: str) -> None:
        copy = partial(self._copy, source, target)
        content = self._actor.pass_through(f"copy {source} {target}", copy)
        if content is not None:
            complete = partial(self._complete, source, target, content)
            self._actor.pass_through(f"complete {source} {target}", complete)

    def _copy(self, source: str, target: str) -> bytes | None:
        """Do the first half; return the source's content, or None if it was a directory."""
        old, new = self._path(source), self._path(target)
        if old.is_dir():
            self._remote.rename(source, target)
            return None
        content = self._remote.read(source)
        if not new.parent.is_dir():
            raise NotFoundError(f"{new.parent} is missing")
        if not new.exists():
            new.write_bytes(content)
        return content

    def _complete(self, source: str, target: str, content: bytes) -> None:
        """Remove the source; if its directory was revoked, remove what was copied out of it."""
        new = self._path(target)
        if not new.exists():
            raise NotFoundError(f"{target} has vanished")
        if new.read_bytes() != content:
            raise ConflictError(f"{target} exists")
        if not self._path(str(PurePosixPath(source).parent)).is_dir():
            new.unlink()
            raise NotFoundError(f"{source} is missing")
        self._unlink(source)
