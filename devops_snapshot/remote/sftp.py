"""A repository on an SFTP server: nothing but sshd is needed there."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from posixpath import basename, dirname, join

import paramiko

from devops_snapshot.errors import ConflictError, NotFoundError, StorageError

from .interface import AccessError, Entry
from .sftp_connection import Connection, open_connection
from .ssh import Host
from .url import Location


class SftpRemote:
    """The operations of :class:`~devops_snapshot.remote.Remote` over SFTP.

    Every thread in need takes a connection of its own from a pool, which grows by need.
    """

    rename_is_move = True

    def __init__(self, location: Location, host: Host) -> None:
        self._location = location
        self._host = host
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return str(self._location)

    def check(self) -> None:
        """Connect once, so that what stands in the way is told at once."""
        with self._connection(self._location.path):
            pass

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        full = self._full(path)
        with (
            self._connection(full) as link,
            link.sftp.open(full, "r") as file,
            self._clear_errors(link, full),  # before the file is closed, see _lost
        ):
            if length is None:
                length = max(0, (file.stat().st_size or 0) - offset)
            return link.pipeline(file).read(offset, length)

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        unfinished, target = self._full(staging), self._full(path)
        with self._connection(unfinished) as link:
            file = link.sftp.open(unfinished, "wx")
            try:
                # errors are told while the file is there: without it the disk is full no more
                with file, self._clear_errors(link, unfinished):
                    written = link.pipeline(file).write(data)
                    link.sync(file)
                self._rename(link, unfinished, target)
            except BaseException:
                self._discard(link, unfinished)
                raise
        return written

    def rename(self, source: str, target: str) -> None:
        with self._connection(self._full(target)) as link:
            self._rename(link, self._full(source), self._full(target))

    def revoke(self, directory: str, target: str) -> None:
        self.rename(directory, target)

    def list(self, path: str) -> list[Entry]:
        full = self._full(path)
        with self._connection(full) as link:
            try:
                items = link.sftp.listdir_attr(full)
            except FileNotFoundError:
                return []
        return [_entry(item.filename, item) for item in items]

    def stat(self, path: str) -> Entry:
        full = self._full(path)
        with self._connection(full) as link:
            return _entry(basename(full), link.sftp.stat(full))

    def remove(self, path: str) -> None:
        full = self._full(path)
        with self._connection(full) as link:
            if _is_directory(link.sftp.lstat(full)):
                link.sftp.rmdir(full)
            else:
                link.sftp.remove(full)

    def mkdir(self, path: str) -> None:
        with self._connection(self._full(path)) as link:
            _mkdir(link.sftp, self._full(path))

    def free_space(self) -> int:
        with self._connection(self._location.path) as link:
            return link.free_space(self._location.path)

    def _full(self, path: str) -> str:
        return join(self._location.path, path) if path else self._location.path

    @contextmanager
    def _connection(self, path: str) -> Iterator[Connection]:
        """Lend a connection; what goes wrong with ``path`` meanwhile becomes a clear error."""
        link = self._take_idle() or open_connection(self._host)
        try:
            with self._clear_errors(link, path):
                yield link
        finally:
            if link.is_alive():
                with self._lock:
                    self._idle.append(link)
            else:
                link.close()

    def _take_idle(self) -> Connection | None:
        with self._lock:
            while self._idle:
                link = self._idle.pop()
                if link.is_alive():
                    return link
                link.close()
        return None

    def _rename(self, link: Connection, source: str, target: str) -> None:
        """Rename as SFTP version 3 has it: refused where the target exists."""
        try:
            link.sftp.rename(source, target)
        except FileNotFoundError as error:
            missing = target if link.exists(source) else source
            raise NotFoundError(f"{missing} on {self._host.name} does not exist") from error
        except OSError as error:
            if error.errno is None and link.exists(target):
                raise ConflictError(f"{target} exists already on {self._host.name}") from error
            raise

    def _lost(self, link: Connection) -> StorageError:
        """Give up a connection, so that nothing waits for an answer from it any more."""
        link.close()
        return StorageError(f"Connection to {self._host.address} was lost", hint="Try again")

    def _discard(self, link: Connection, path: str) -> None:
        with suppress(OSError, EOFError, paramiko.SSHException):
            link.sftp.remove(path)

    @contextmanager
    def _clear_errors(self, link: Connection, path: str) -> Iterator[None]:
        where = f"{path} on {self._host.name}"
        try:
            yield
        except FileNotFoundError as error:
            raise NotFoundError(f"{where} does not exist") from error
        except PermissionError as error:
            raise AccessError(
                f"No permission for {where} as user {self._host.user}",
                hint="Check its owner and mode",
            ) from error
        except (EOFError, TimeoutError, paramiko.SSHException) as error:
            raise self._lost(link) from error
        except OSError as error:
            if not link.is_alive():
                raise self._lost(link) from error
            if link.is_nearly_full(self._location.path):
                raise StorageError(
                    f"No space left for {where}", hint="Free space on the storage node"
                ) from error
            raise StorageError(f"{where}: {error}") from error


def _entry(name: str, attributes: paramiko.SFTPAttributes) -> Entry:
    return Entry(
        name,
        attributes.st_size or 0,
        float(attributes.st_mtime or 0),
        _is_directory(attributes),
    )


def _is_directory(attributes: paramiko.SFTPAttributes) -> bool:
    return stat.S_ISDIR(attributes.st_mode or 0)


def _mkdir(client: paramiko.SFTPClient, path: str) -> None:
    if _is_there(client, path):
        return
    if dirname(path) != path:
        _mkdir(client, dirname(path))
    try:
        client.mkdir(path)
    except OSError:
        if not _is_there(client, path):  # else another client was faster
            raise


def _is_there(client: paramiko.SFTPClient, path: str) -> bool:
    """Whether there is a directory of that name."""
    try:
        return _is_directory(client.stat(path))
    except FileNotFoundError:
        return False
