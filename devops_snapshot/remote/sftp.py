"""A repository on an SFTP server: nothing but sshd is needed there."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from contextlib import suppress
from posixpath import basename, dirname, join

import paramiko

from devops_snapshot.errors import ConflictError, NotFoundError, StorageError

from .interface import Entry, moderately_many, require_moderate
from .patience import ConnectionLost, log_in
from .sftp_connection import Connection
from .sftp_pool import Pool
from .sftp_upload import SourceFailedError, Upload
from .ssh import Host
from .url import Location

_COMPARED = 8 * 1024 * 1024  # bytes


class SftpRemote:
    """The operations of :class:`~devops_snapshot.remote.Remote` over SFTP.

    A connection that is cut is made again for about a minute, and the operation goes on: whether
    something has happened before the cut is looked up, not guessed.
    """

    rename_is_move = True

    def __init__(self, location: Location, host: Host) -> None:
        self._location = location
        self._host = host
        self._pool = Pool(host, location.path)

    @property
    def url(self) -> str:
        return str(self._location)

    def check(self) -> None:
        """Connect once, so that what stands in the way is told at once."""
        log_in(self._connect)

    def close(self) -> None:
        self._pool.close()

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        full = self._full(path)

        def work(link: Connection) -> bytes:
            with link.opened(full, "r") as file:
                if length is not None:
                    return file.read(offset, length)
                return file.read(offset, require_moderate(max(0, file.size - offset), full))

        return self._pool.run(full, work)

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        upload = Upload(self._full(staging), data)
        try:
            self._pool.run(upload.path, upload.send, progress=lambda: upload.acknowledged)
            self._rename(upload.path, self._full(path))
        except ConnectionLost:
            raise  # the storage node is out of reach: collection removes what is left there
        except BaseException as error:
            if upload.created:
                self._discard(upload.path)
            if isinstance(error, SourceFailedError):
                raise error.error from None
            raise
        return upload.size

    def rename(self, source: str, target: str) -> None:
        self._rename(self._full(source), self._full(target))

    def revoke(self, directory: str, target: str) -> None:
        self.rename(directory, target)

    def stat(self, path: str) -> Entry:
        full = self._full(path)
        return self._pool.run(full, lambda link: _entry(basename(full), link.sftp.stat(full)))

    def remove(self, path: str) -> None:
        full = self._full(path)
        tried = False

        def work(link: Connection) -> None:
            nonlocal tried
            if tried and not link.exists(full):
                return
            tried = True
            self._remove(link, full)

        self._pool.run(full, work)

    def mkdir(self, path: str) -> None:
        full = self._full(path)
        self._pool.run(full, lambda link: _mkdir(link.sftp, full))

    def free_space(self) -> int:
        return self._pool.run(self._location.path, Connection.free_space)

    def list(self, path: str) -> list[Entry]:
        full = self._full(path)

        def work(link: Connection) -> list[Entry]:
            with suppress(FileNotFoundError):
                listed = link.sftp.listdir_iter(full, read_aheads=1)  # no answer is left unread
                return list(moderately_many((_entry(e.filename, e) for e in listed), full))
            return []

        return self._pool.run(full, work)

    def _connect(self) -> None:
        with self._pool.lend(self._location.path):
            pass

    def _full(self, path: str) -> str:
        return join(self._location.path, path) if path else self._location.path

    def _rename(self, source: str, target: str) -> None:
        tried = False

        def work(link: Connection) -> None:
            nonlocal tried
            if tried and _is_renamed(link, source, target):
                return
            tried = True
            self._rename_once(link, source, target)

        self._pool.run(target, work)

    def _rename_once(self, link: Connection, source: str, target: str) -> None:
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

    def _remove(self, link: Connection, path: str) -> None:
        try:
            link.sftp.remove(path)
        except OSError as error:
            if not (link.is_alive() and link.exists(path) and _is_directory(link.sftp.lstat(path))):
                raise
            if link.sftp.listdir(path):
                raise StorageError(f"{path} on {self._host.name} is not empty") from error
            link.sftp.rmdir(path)

    def _discard(self, path: str) -> None:
        """Remove an unfinished file, if that can be done now."""
        with suppress(StorageError, NotFoundError), self._pool.lend(path) as link:
            link.sftp.remove(path)


def _entry(name: str, attributes: paramiko.SFTPAttributes) -> Entry:
    return Entry(
        name,
        attributes.st_size or 0,
        float(attributes.st_mtime or 0),
        _is_directory(attributes),
    )


def _is_directory(attributes: paramiko.SFTPAttributes) -> bool:
    return stat.S_ISDIR(attributes.st_mode or 0)


def _is_renamed(link: Connection, source: str, target: str) -> bool:
    """Say whether a rename that nobody has heard of again was done, and complete it.

    OpenSSH renames a file by linking and unlinking it, so it may have two names.
    """
    if not link.exists(target):
        return False
    if not link.exists(source):
        return True
    old, new = link.sftp.lstat(source), link.sftp.lstat(target)
    if (old.st_size, old.st_mtime) != (new.st_size, new.st_mtime) or _is_directory(old):
        return False
    with link.opened(source, "r") as first, link.opened(target, "r") as second:
        for offset in range(0, first.size + 1, _COMPARED):
            if first.read(offset, _COMPARED) != second.read(offset, _COMPARED):
                return False
    link.sftp.remove(source)
    return True


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
