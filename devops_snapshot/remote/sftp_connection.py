"""One SSH connection with one SFTP client, and the OpenSSH extensions that paramiko lacks."""

from __future__ import annotations

import struct
from typing import Any

import paramiko
from paramiko.sftp import CMD_EXTENDED, CMD_EXTENDED_REPLY

from devops_snapshot.errors import StorageError

from .sftp_pipeline import Pipeline
from .ssh import Host, open_ssh

SILENCE = 120.0  # seconds without an answer after which a connection is lost
_SAFE_BLOCK = 32 * 1024  # bytes that every server accepts in one request
_LARGEST_BLOCK = 255 * 1024  # bytes; what OpenSSH offers
_LIMITS = struct.Struct(">4Q")  # packet, read, write, open handles
_STATVFS = struct.Struct(">11Q")  # as in struct statvfs
_NEARLY_FULL = 8 * 1024 * 1024  # bytes free; SFTP has no error code for a full disk


class Connection:
    """For one thread at a time: four threads on one SFTP client hung for minutes."""

    def __init__(self, ssh: paramiko.SSHClient, sftp: paramiko.SFTPClient) -> None:
        self.sftp = sftp
        self._ssh = ssh
        self._requests: Any = sftp  # the type stubs lack the methods for requests
        channel = sftp.get_channel()
        if channel is not None:
            channel.settimeout(SILENCE)
        self._block_size = self._ask_block_size()

    def close(self) -> None:
        self._ssh.close()

    def is_alive(self) -> bool:
        transport = self._ssh.get_transport()
        return transport is not None and transport.is_active() and not self.sftp.sock.closed

    def pipeline(self, file: paramiko.SFTPFile) -> Pipeline:
        return Pipeline(self.sftp, _handle(file), self._block_size)

    def sync(self, file: paramiko.SFTPFile) -> None:
        """Make a file durable, where the server can do that."""
        try:
            self._requests._request(CMD_EXTENDED, "fsync@openssh.com", _handle(file))
        except OSError as error:
            if "unsupported" not in str(error).lower():
                raise

    def exists(self, path: str) -> bool:
        try:
            self.sftp.lstat(path)
        except FileNotFoundError:
            return False
        return True

    def free_space(self, path: str) -> int:
        """Return the bytes that this user can still write.

        :raises OSError: the server does not tell
        """
        reply = self._extension("statvfs@openssh.com", path)
        _, fragment, _, _, available, *_ = _STATVFS.unpack(reply)
        return int(fragment * available)

    def is_nearly_full(self, path: str) -> bool:
        """Say whether lack of space may be why an operation failed."""
        try:
            return self.free_space(path) < _NEARLY_FULL
        except OSError:
            return False

    def _ask_block_size(self) -> int:
        try:
            _, read, write, _ = _LIMITS.unpack(self._extension("limits@openssh.com"))
        except OSError:
            return _SAFE_BLOCK
        limits = [limit for limit in (read, write) if limit]  # zero means unknown
        return int(min(*limits, _LARGEST_BLOCK) if len(limits) == 2 else _SAFE_BLOCK)

    def _extension(self, *arguments: str) -> bytes:
        kind, message = self._requests._request(CMD_EXTENDED, *arguments)
        if kind != CMD_EXTENDED_REPLY:
            raise OSError(f"no answer to {arguments[0]}")
        return bytes(message.get_remainder())


def open_connection(host: Host) -> Connection:
    """Connect to a storage node.

    :raises StorageError: it cannot be reached, or has no SFTP
    """
    ssh = open_ssh(host)
    try:
        return Connection(ssh, ssh.open_sftp())
    except (EOFError, OSError, paramiko.SSHException) as error:
        ssh.close()
        raise StorageError(
            f"{host.address} offers no SFTP to user {host.user}: {error or 'it hangs up'}",
            hint="Enable 'Subsystem sftp internal-sftp' in its sshd_config",
        ) from error


def _handle(file: paramiko.SFTPFile) -> bytes:
    handle: Any = file.handle  # the type stubs take it for an SFTPHandle of a server
    return bytes(handle)
