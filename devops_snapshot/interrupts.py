"""Ctrl-C and requests to end, held back while something is half made.

Python raises ``KeyboardInterrupt`` between any two steps, also right after libvirt has suspended a
guest and before anybody has noted that it must be resumed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: Called again and again during long work; raises what came meanwhile to end it.
Heed = Callable[[], None]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heed_nothing() -> None:
    """Where nobody waits who could want to end it."""


class Interrupts:
    """Those that came while they were held back."""

    def __init__(self) -> None:
        self._came: list[tuple[int, FrameType | None]] = []
        self._handlers: dict[int, Any] = {}

    def heed(self) -> None:
        """Let what came take effect here, by whatever it does otherwise: KeyboardInterrupt ..."""
        while self._came:
            number, frame = self._came.pop(0)
            handler = self._handlers[number]
            if callable(handler):
                handler(number, frame)
            else:
                raise SystemExit(128 + number)

    def hold(self) -> None:
        """Begin to hold back; signals that the process ignores stay ignored."""
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):
                self._handlers[number] = handler
                signal.signal(number, self._note)

    def release(self) -> None:
        """End it."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._came.append((number, frame))


@contextmanager
def held_back() -> Iterator[Interrupts]:
    """Inside, signals take effect only where :meth:`Interrupts.heed` is called, and at the end.

    In a thread other than the main one nothing is held back: signals do not get there.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    interrupts.hold()
    try:
        yield interrupts
    finally:
        interrupts.release()
    interrupts.heed()
