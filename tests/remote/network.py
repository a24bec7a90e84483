"""A network between client and storage node that breaks when a test wants it to."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Network:
    """Forwards connections to a port.

    :ivar sent: bytes that went to the storage node
    :ivar connections: that were made
    """

    def __init__(self, port: int) -> None:
        self.sent = 0
        self.connections = 0
        self.cut_after: Iterator[int] = iter(())  # bytes in either direction, for each connection
        self.on_cut: Callable[[], object] = lambda: None
        self.is_down = False
        self.answers = threading.Event()  # cleared: what the storage node says is held back
        self.answers.set()
        self._target = port
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def serve(self) -> None:
        with suppress(OSError):  # the listener is closed at the end
            while True:
                client, _ = self._listener.accept()
                if self.is_down:
                    client.close()
                    continue
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._target))
                self._pairs.append((client, server))
                left = [next(self.cut_after, 1 << 60)]
                for source, target in ((client, server), (server, client)):
                    arguments = (source, target, left)
                    threading.Thread(target=self._forward, args=arguments, daemon=True).start()

    def cut(self) -> None:
        """Break all connections there are, and forget what is held back."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _reset(*pair)
        self.on_cut()

    def _is_there(self, side: socket.socket) -> bool:
        return any(side in pair for pair in self._pairs)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.on_cut = lambda: None
        self.answers.set()
        self.cut()

    def _forward(self, source: socket.socket, target: socket.socket, left: list[int]) -> None:
        try:
            to_server = target.getpeername()[1] == self._target
            while data := source.recv(65536):
                if not to_server:
                    self.answers.wait()
                left[0] -= len(data)
                if left[0] < 0:
                    if self._is_there(source):  # else the other direction has done it
                        self.cut()
                    return
                target.sendall(data)
                self.sent += len(data) * to_server
        except OSError:
            _reset(source, target)
        else:
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)


def _reset(*sides: socket.socket) -> None:
    for side in sides:
        with suppress(OSError):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            side.shutdown(socket.SHUT_RDWR)
        side.close()


@contextmanager
def network_to(port: int) -> Iterator[Network]:
    network = Network(port)
    thread = threading.Thread(target=network.serve)
    thread.start()
    try:
        yield network
    finally:
        network.close()
        thread.join()
