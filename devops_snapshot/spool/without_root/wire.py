"""Messages between the worker and those who ask it: JSON, and the manifest of an export behind it.

One connection is one request and its answer. Both have a length before them, so that half a message
is known as such, and one that is too large is refused before it is read.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

from ...errors import FormatError

LARGEST_TEXT = 1 << 20
"""Bytes of a request's JSON: 32768 files need a quarter of it."""

_HEAD = struct.Struct("!QQ")
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: see unix(7)
_PIECE = 1 << 20


class Wire:
    """One end of a connection.

    :param seconds: for all that comes and goes by it
    """

    def __init__(self, connection: socket.socket, *, seconds: float) -> None:
        self._connection = connection
        self.give(seconds)

    def give(self, seconds: float) -> None:
        """Begin to count anew."""
        self._deadline = time.monotonic() + seconds

    @property
    def uid(self) -> int:
        """The user at the other end, as the kernel knows it."""
        data = self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(data)[1])

    def is_there(self) -> bool:
        """Whether the other end has not gone."""
        poll = select.poll()
        poll.register(self._connection, select.POLLRDHUP)
        return not poll.poll(0)

    def send(self, message: Mapping[str, Any], body: bytes = b"") -> None:
        """:raises OSError: it has gone, or does not listen in time"""
        text = json.dumps(message).encode()
        self._limit()
        self._connection.sendall(_HEAD.pack(len(text), len(body)) + text + body)

    def receive(self, *, most_text: int, most_body: int) -> tuple[bytes, bytes]:
        """Return the JSON of a message, unread, and what comes behind it.

        :raises FormatError: it is larger than that
        :raises OSError: it has gone, or does not say all in time
        """
        text, body = _HEAD.unpack(self._read(_HEAD.size))
        if text > most_text or body > most_body:
            raise FormatError(f"a message of {text + body} bytes, which nothing needs")
        return self._read(text), self._read(body)

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._limit()
            piece = self._connection.recv(min(size - len(data), _PIECE))
            if not piece:
                raise ConnectionAbortedError("it ended in the middle of a message")
            data += piece
        return bytes(data)

    def _limit(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time is left")
        self._connection.settimeout(left)
