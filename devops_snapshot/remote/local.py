"""A repository in a local directory, which may be a mounted NFS or CephFS."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from devops_snapshot.errors import ConflictError, FormatError, NotFoundError, StorageError

from .interface import FULL_HINT, AccessError, Entry, moderately_many, require_moderate

_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_EXISTS = {errno.EEXIST, errno.ENOTEMPTY}


class LocalRemote:
    """The operations of :class:`~devops_snapshot.remote.Remote` on a directory."""

    rename_is_move = True

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def url(self) -> str:
        return f"file://{self._root}"

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        full = self._root / path
        with _clear_errors(full), _opened(full) as file:
            wanted = max(0, os.fstat(file.fileno()).st_size - offset)
            if length is None:
                require_moderate(wanted, str(full))
            else:
                wanted = min(wanted, length)
            return b"".join(_read_fully(file.fileno(), offset, wanted))

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        unfinished = self._root / staging
        with _clear_errors(unfinished), unfinished.open("xb", buffering=0) as file:
            try:
                written = sum(_write_fully(file.fileno(), block) for block in data)
                os.fsync(file.fileno())
                self._publish(unfinished, self._root / path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
        return written

    def rename(self, source: str, target: str) -> None:
        old, new = self._root / source, self._root / target
        with _clear_errors(new, source=old):
            was = old.stat()
            if stat.S_ISDIR(was.st_mode):
                _rename_directory(old, new, was)
            else:
                _rename_file(old, new, was)
            _sync_directory(new.parent)

    def _publish(self, unfinished: Path, path: Path) -> None:
        """Give a new object its name; somebody may have removed it by the time this returns."""
        with _clear_errors(path, source=unfinished):
            _link(unfinished, path, unfinished.stat())
            with suppress(FileNotFoundError):
                unfinished.unlink()
            _sync_directory(path.parent)

    def revoke(self, directory: str, target: str) -> None:
        self.rename(directory, target)

    def list(self, path: str) -> list[Entry]:
        directory = self._root / path
        with _clear_errors(directory):
            return list(moderately_many(_entries(directory), str(directory)))

    def stat(self, path: str) -> Entry:
        full = self._root / path
        with _clear_errors(full):
            return _entry(full.name, full.stat())

    def remove(self, path: str) -> None:
        full = self._root / path
        with _clear_errors(full):
            if stat.S_ISDIR(full.lstat().st_mode):
                _remove_directory(full)
            else:
                full.unlink(missing_ok=True)  # it was there: NFS may carry out a request twice

    def mkdir(self, path: str) -> None:
        full = self._root / path
        with _clear_errors(full):
            full.mkdir(parents=True, exist_ok=True)

    def free_space(self) -> int:
        with _clear_errors(self._root):
            status = os.statvfs(self._root)
        return status.f_bavail * status.f_frsize


def _opened(path: Path) -> IO[bytes]:
    """A file to be read; for what is none, such as a pipe, nobody waits."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FormatError(f"{path} is no file", hint="Somebody has put something else there")
    return file


def _entries(directory: Path) -> Iterator[Entry]:
    """Nothing if it is missing."""
    with suppress(FileNotFoundError), os.scandir(directory) as items:
        for item in items:
            with suppress(FileNotFoundError):
                yield _entry(item.name, item.stat())


def _entry(name: str, status: os.stat_result) -> Entry:
    return Entry(name, status.st_size, status.st_mtime, stat.S_ISDIR(status.st_mode))


def _read_fully(descriptor: int, offset: int, length: int) -> Iterator[bytes]:
    while length > 0 and (block := os.pread(descriptor, length, offset)):
        yield block
        offset += len(block)
        length -= len(block)


def _write_fully(descriptor: int, block: bytes) -> int:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]
    return len(block)


def _rename_file(old: Path, new: Path, was: os.stat_result) -> None:
    """Link and unlink; a link refuses a target that exists.

    Somebody may take the source's directory away: once the target is there, all is done. Whoever
    stands still in between may find that the target has been moved on: then the source stays, for
    others rely on it.
    """
    _link(old, new, was)
    if not _is_at(new, was):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(new))
    with suppress(FileNotFoundError):
        old.unlink()


def _link(old: Path, new: Path, was: os.stat_result) -> None:
    """Give a file a second name.

    Over NFS a request whose answer was lost is repeated, and then refused because of itself.
    """
    try:
        os.link(old, new)
    except OSError:
        if not _is_at(new, was):
            raise


def _rename_directory(old: Path, new: Path, was: os.stat_result) -> None:
    """rename(2) refuses a target with content, and silently replaces an empty directory."""
    if new.exists():
        raise FileExistsError(errno.EEXIST, "exists", str(new))
    try:
        old.rename(new)
    except FileNotFoundError:
        if not _is_at(new, was):
            raise


def _is_at(path: Path, file: os.stat_result) -> bool:
    """Whether this file or directory lies there now, under this or more names."""
    try:
        return os.path.samestat(path.lstat(), file)
    except OSError:
        return False


def _remove_directory(path: Path) -> None:
    try:
        path.rmdir()
    except OSError as error:
        if error.errno in _EXISTS:
            raise StorageError(f"{path} is not empty") from error
        raise


def _sync_directory(path: Path) -> None:
    """Make the names in a directory durable, where the file system can do that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(PermissionError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _clear_errors(path: Path, *, source: Path | None = None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translate(error, path, source) from error


def _translate(error: OSError, path: Path, source: Path | None) -> Exception:
    if error.errno == errno.ENOENT:
        missing = source if source and not source.exists() else path
        return NotFoundError(f"{missing} does not exist")
    if error.errno in _EXISTS:
        return ConflictError(f"{path} exists already")
    if error.errno in _REFUSED:
        return AccessError(
            f"No permission for {path}: {error.strerror}", hint="Check its owner and mode"
        )
    if error.errno == errno.EDQUOT:
        return StorageError(f"Quota exceeded for {path}", hint="Have the user's quota raised there")
    if error.errno == errno.ENOSPC:
        return StorageError(f"No space left for {path}", hint=FULL_HINT)
    return StorageError(f"{path}: {error.strerror or error}")
