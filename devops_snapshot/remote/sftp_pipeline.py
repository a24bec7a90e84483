"""Reading and writing an open SFTP file without waiting for each answer.

paramiko's own pipelined writes drop the errors of the last requests when a file is closed, and its
prefetching reads are slow in ranges, so the answers are collected here, with the same methods of
``SFTPClient`` that paramiko's ``SFTPFile`` uses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from paramiko import Message, SFTPClient, SFTPError, SSHException
from paramiko.sftp import CMD_DATA, CMD_READ, CMD_WRITE, int64

_DEPTH = 64  # requests under way
LOST = (EOFError, TimeoutError, SSHException, SFTPError)  # ways to learn that a connection was cut


class Pipeline:
    """The requests on one file handle. For one thread, which has the client for itself.

    :param block_size: bytes in one request, at most what the server accepts
    """

    def __init__(self, client: SFTPClient, handle: bytes, block_size: int) -> None:
        self._client: Any = client  # the type stubs lack the methods for requests
        self._handle = handle
        self._block_size = block_size
        self._under_way: dict[int, tuple[int, int]] = {}  # request: (offset, length)
        self._wanted: deque[tuple[int, int]] = deque()
        self._received: dict[int, bytes] = {}
        self._failure: OSError | None = None
        self._is_out_of_step = False
        self._arrived: Callable[[int], None] = lambda offset: None

    def write(self, parts: Iterable[tuple[int, bytes]], arrived: Callable[[int], None]) -> None:
        """Write parts, given as offset and at most ``block_size`` bytes.

        :param arrived: told the offset of each part that the server has acknowledged
        :raises OSError: the server did not accept all of them
        """
        self._arrived = arrived
        with self._all_answered():
            for offset, part in parts:
                self._ask(CMD_WRITE, offset, len(part), part)

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes from ``offset``, fewer than ``length`` only where the file ends.

        :raises OSError: the server cannot read them
        """
        for start in range(offset, offset + length, self._block_size):
            self._wanted.append((start, min(self._block_size, offset + length - start)))
        with self._all_answered():
            while self._wanted:
                start, size = self._wanted.popleft()
                self._ask(CMD_READ, start, size, size)
                if not self._wanted:
                    self._await_all()  # a short answer puts its rest back into self._wanted
        received = sorted(self._received.items())
        self._received.clear()
        return b"".join(data for _, data in received)

    def _ask(self, command: int, offset: int, length: int, argument: int | bytes) -> None:
        while len(self._under_way) >= _DEPTH:
            self._await_one()
        self._raise_failure()
        number = self._client._async_request(self, command, self._handle, int64(offset), argument)
        self._under_way[number] = offset, length

    @contextmanager
    def _all_answered(self) -> Iterator[None]:
        """Leave no answer behind that the next request would take for its own."""
        try:
            yield
        except BaseException:
            if not self._is_out_of_step:
                self._await_all()
            raise
        self._await_all()
        self._raise_failure()

    def _await_all(self) -> None:
        while self._under_way:
            self._await_one()

    def _await_one(self) -> None:
        """:raises Exception: one of ``LOST``; what is buffered then may begin in the middle"""
        try:
            self._client._read_response()
        except LOST:
            self._is_out_of_step = True
            raise

    def _raise_failure(self) -> None:
        if self._failure:
            raise self._failure

    def _async_response(self, kind: int, message: Message, number: int) -> None:
        """Take an answer; called by paramiko from ``_read_response``."""
        offset, length = self._under_way.pop(number)
        if kind == CMD_DATA:
            data = message.get_string()
            self._received[offset] = data
            if 0 < len(data) < length:
                self._wanted.append((offset + len(data), length - len(data)))
            return
        try:
            self._client._convert_status(message)
            self._arrived(offset)
        except EOFError:
            pass  # nothing to read there
        except OSError as error:
            self._failure = error
