"""A network namespace of its own, in which an environment's networks are all there is."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DevopsError
from . import host

T = TypeVar("T")

_NAMESPACES = Path("/run/netns")  # of iproute2
_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Namespace:
    """:param name: as ``ip netns`` knows it"""

    name: str

    @property
    def path(self) -> Path:
        return _NAMESPACES / self.name

    def exists(self) -> bool:
        return self.path.exists()

    def create(self) -> None:
        """Make it, with nothing but a loopback device."""
        host.run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def remove(self) -> None:
        """Take its name away, and its devices with it unless a process lives on inside."""
        if self.exists():
            host.run("ip", "netns", "delete", self.name)

    def processes(self) -> list[int]:
        """Numbers of those that are inside."""
        if not self.exists():
            return []
        return [int(number) for number in host.run("ip", "netns", "pids", self.name).split()]

    def ip(self, *arguments: str) -> list[dict[str, Any]]:
        """As :func:`~.host.ip`, of what is inside."""
        return host.ip("-netns", self.name, *arguments)

    def run(self, *command: str, given: str = "") -> str:
        """As :func:`~.host.run`, with the network that is inside."""
        return host.run("nsenter", f"--net={self.path}", *command, given=given)

    def set(self, setting: str, value: str) -> None:
        """Set what ``sysctl`` shows as ``net.<setting>``."""
        self.run("tee", f"/proc/sys/net/{setting.replace('.', '/')}", given=value)

    def within(self, action: Callable[[], T]) -> T:
        """Call ``action`` in a thread that is inside; the sockets it opens stay inside.

        :raises DevopsError: there is no way in
        """
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self._enter_and, action).result()

    def connect(self, address: tuple[str, int], timeout: float) -> socket.socket:
        """``socket.create_connection`` from inside.

        :raises OSError: nobody answers
        """
        return self.within(lambda: socket.create_connection(address, timeout))

    def _enter_and(self, action: Callable[[], T]) -> T:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.setns(descriptor, _CLONE_NEWNET):
                reason = os.strerror(ctypes.get_errno())
                raise DevopsError(f"cannot enter namespace {self.name}: {reason}")
        finally:
            os.close(descriptor)
        return action()
