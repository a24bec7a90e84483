"""The socket at which the worker is asked."""

from __future__ import annotations

import errno
import grp
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import ConflictError, DevopsError
from ...manifest.document import LARGEST
from .desk import Asker
from .requests import Request, read_request, refusal
from .wire import LARGEST_TEXT, Wire

log = logging.getLogger(__name__)

Answer = Callable[[Request, bytes, Asker], dict[str, Any]]

GROUP = "libvirt"
_AT_ONCE = 4  # connections; others wait
_PATIENCE = 30.0  # seconds for a request, and again for its answer
_PASSING = (errno.ECONNABORTED, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 1.0  # seconds
_LAST = 10.0  # seconds for what is being answered when the worker ends


def group_id(name: str) -> int | None:
    """The number of a group; None if there is none of that name."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


@contextmanager
def listening(
    place: Path, answer: Answer, *, group: int | None, patience: float = _PATIENCE
) -> Iterator[None]:
    """Inside, requests that come by the socket are answered, in threads.

    :param group: who may ask; None: only our own user
    :raises ConflictError: another worker listens there
    :raises DevopsError: the socket cannot be made
    """
    with _socket_at(place, group) as server:
        listener = _Listener(server, answer, patience)
        threading.Thread(target=listener.run, name="listener", daemon=True).start()
        try:
            yield
        finally:
            listener.end()


@contextmanager
def _socket_at(place: Path, group: int | None) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        try:
            if not place.parent.exists():
                place.parent.mkdir(parents=True)
                place.parent.chmod(0o755)  # whatever the umask is
            _remove_stale(place)
            server.bind(str(place))
            # Nobody is let in before listen().
            os.chown(place, -1, -1 if group is None else group)
            place.chmod(0o600 if group is None else 0o660)
            server.listen()
        except OSError as error:
            raise DevopsError(
                f"cannot listen at {place}: {error.strerror or error}",
                hint="DEVOPS_WORKER_SOCKET names another place",
            ) from error
        try:
            yield server
        finally:
            place.unlink(missing_ok=True)


def _remove_stale(place: Path) -> None:
    """Of a worker that was killed.

    :raises ConflictError: its worker lives
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(place))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            place.unlink(missing_ok=True)
            return
    raise ConflictError(f"another worker listens at {place}")


@dataclass
class _Listener:
    server: socket.socket
    answer: Answer
    patience: float
    _free: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(_AT_ONCE))
    _answering: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """Until the socket is shut down."""
        while True:
            self._free.acquire()
            try:
                connection, _ = self.server.accept()
            except OSError as error:
                if error.errno not in _PASSING:
                    return
                time.sleep(_PAUSE)
                self._free.release()
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def end(self) -> None:
        """Take no more requests; what is being answered comes to its end."""
        with suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self._answering.acquire(timeout=_LAST)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self._converse(Wire(connection, seconds=self.patience))
        except OSError as error:  # he has gone, or says nothing
            log.debug("A request came to nothing: %s", error)
        finally:
            self._free.release()

    def _converse(self, wire: Wire) -> None:
        try:
            answer = self._answered(wire)
        except DevopsError as error:
            answer = refusal(error)
        wire.give(self.patience)
        wire.send(answer)

    def _answered(self, wire: Wire) -> dict[str, Any]:
        text, manifest = wire.receive(most_text=LARGEST_TEXT, most_body=LARGEST)
        request = read_request(text)
        with self._answering:  # one after the other: a manifest takes much memory to be read
            try:
                return self.answer(request, manifest, Asker(wire.uid, wire.is_there))
            except OSError as error:  # such as a full disk
                log.warning("A request failed: %s", error)
                raise DevopsError(f"the worker failed: {error.strerror or error}") from error
