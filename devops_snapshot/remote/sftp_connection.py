"""One SSH connection with one SFTP client, and the OpenSSH extensions that paramiko lacks."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import paramiko
from paramiko.sftp import CMD_EXTENDED, CMD_EXTENDED_REPLY

from devops_snapshot.errors import NotFoundError, StorageError

from .interface import FULL_HINT, AccessError
from .patience import ConnectionLost
from .sftp_pipeline import LOST, Pipeline
from .ssh import Host, open_ssh

SILENCE = 120.0  # seconds without an answer after which a connection is lost
_SAFE_BLOCK = 32 * 1024  # bytes that every server accepts in one request
_LARGEST_BLOCK = 255 * 1024  # bytes; what OpenSSH offers
_LIMITS = struct.Struct(">4Q")  # packet, read, write, open handles
_STATVFS = struct.Struct(">11Q")  # as in struct statvfs
_NEARLY_FULL = 8 * 1024 * 1024  # bytes free; SFTP has no error code for a full disk


class SftpFile:
    """A file that is open; many requests are under way at the same time."""

    def __init__(self, link: Connection, file: paramiko.SFTPFile) -> None:
        self._link = link
        self._file = file

    @property
    def size(self) -> int:
        return self._file.stat().st_size or 0

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes from ``offset``, fewer only where the file ends."""
        return self._pipeline().read(offset, length)

    def write(self, parts: Iterable[tuple[int, bytes]], *, arrived: Callable[[int], None]) -> None:
        """Write parts where they belong.

        :param parts: offsets and bytes, at most the connection's ``block_size``
        :param arrived: told the offset of each part that the server has taken
        """
        self._pipeline().write(parts, arrived)

    def sync(self) -> None:
        """Make the file durable, where the server can do that."""
        try:
            self._link.request("fsync@openssh.com", self._handle)
        except OSError as error:
            if "unsupported" not in str(error).lower():
                raise

    def _pipeline(self) -> Pipeline:
        return Pipeline(self._link.sftp, self._handle, self._link.block_size)

    @property
    def _handle(self) -> bytes:
        handle: Any = self._file.handle  # the type stubs take it for an SFTPHandle of a server
        return bytes(handle)


class Connection:
    """For one thread at a time: four threads on one SFTP client hung for minutes.

    :param root: a directory on the file system that may be full
    """

    def __init__(self, host: Host, root: str, ssh: paramiko.SSHClient) -> None:
        self.sftp = ssh.open_sftp()
        self._host = host
        self._root = root
        self._ssh = ssh
        self._requests: Any = self.sftp  # the type stubs lack the methods for requests
        channel = self.sftp.get_channel()
        if channel is not None:
            channel.settimeout(SILENCE)
        self.block_size = self._ask_block_size()

    def close(self) -> None:
        self._ssh.close()

    def is_alive(self) -> bool:
        transport = self._ssh.get_transport()
        return transport is not None and transport.is_active() and not self.sftp.sock.closed

    @contextmanager
    def opened(self, path: str, mode: str) -> Iterator[SftpFile]:
        """Open a file; what goes wrong with it becomes a clear error.

        Errors are told while the file is there (without it the disk may be full no more), and a
        connection that is lost is given up before the file is closed.
        """
        with (
            self.clear_errors(path),
            self.sftp.open(path, mode) as file,
            self.clear_errors(path),
        ):
            yield SftpFile(self, file)

    def exists(self, path: str) -> bool:
        try:
            self.sftp.lstat(path)
        except FileNotFoundError:
            return False
        return True

    def free_space(self) -> int:
        """Return the bytes that this user can still write.

        :raises OSError: the server does not tell
        """
        free, _ = self._free()
        return free

    def request(self, *arguments: str | bytes) -> bytes:
        """Make a request that SFTP itself does not have, and return what is answered."""
        kind, message = self._requests._request(CMD_EXTENDED, *arguments)
        return bytes(message.get_remainder()) if kind == CMD_EXTENDED_REPLY else b""

    @contextmanager
    def clear_errors(self, path: str) -> Iterator[None]:
        """Turn what goes wrong with a path into the project's errors."""
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
        except LOST as error:
            raise self._lost() from error
        except OSError as error:
            if not self.is_alive():
                raise self._lost() from error
            raise self._refused(where, error) from error

    def _lost(self) -> ConnectionLost:
        """Give up the connection, so that nothing waits for an answer from it any more."""
        self.close()
        return ConnectionLost(f"Connection to {self._host.address} was lost", hint="Try again")

    def _refused(self, where: str, error: OSError) -> StorageError:
        """SFTP has one code for a full disk, a quota and all else."""
        if self._is_nearly_full():
            return StorageError(f"No space left for {where}", hint=FULL_HINT)
        if error.errno is None and str(error) == "Failure":
            return StorageError(
                f"{where} is refused, the storage node does not say why",
                hint=f"Check the quota of user {self._host.user} and the storage node's log",
            )
        return StorageError(f"{where}: {error}")

    def _is_nearly_full(self) -> bool:
        try:
            free, names = self._free()
        except (OSError, EOFError, paramiko.SSHException):
            return False
        return free < _NEARLY_FULL or names == 0

    def _free(self) -> tuple[int, int | None]:
        """Bytes, and new names where there is a limit."""
        reply = self.request("statvfs@openssh.com", self._root)
        if not reply:
            raise OSError("the server does not tell its free space")
        _, fragment, _, _, available, limit, _, names, *_ = _STATVFS.unpack(reply)
        return int(fragment * available), int(names) if limit else None

    def _ask_block_size(self) -> int:
        try:
            reply = self.request("limits@openssh.com")
        except OSError:
            return _SAFE_BLOCK
        if len(reply) != _LIMITS.size:
            return _SAFE_BLOCK
        _, read, write, _ = _LIMITS.unpack(reply)
        limits = [limit for limit in (read, write) if limit]  # zero means unknown
        return int(min(*limits, _LARGEST_BLOCK) if len(limits) == 2 else _SAFE_BLOCK)


def open_connection(host: Host, root: str) -> Connection:
    """Connect to a storage node.

    :raises ConnectionLost: it cannot be reached at the moment
    :raises StorageError: it does not let this user in, or has no SFTP
    """
    ssh = open_ssh(host)
    try:
        return Connection(host, root, ssh)
    except (OSError, *LOST) as error:
        transport = ssh.get_transport()
        was_cut = transport is None or not transport.is_active()
        ssh.close()
        if was_cut:
            raise ConnectionLost(f"Connection to {host.address} was lost") from error
        raise StorageError(
            f"{host.address} offers no SFTP to user {host.user}: {error or 'it hangs up'}",
            hint="Enable 'Subsystem sftp internal-sftp' in its sshd_config; "
            "a login that prints something offers none either",
        ) from error
