"""Going on after a connection was cut."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from devops_snapshot.errors import StorageError

log = logging.getLogger(__name__)

T = TypeVar("T")
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # seconds, about a minute in all
LOGIN_PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds
_HUNG_UP = 5.0  # seconds within which it does that


class ConnectionLost(StorageError):  # noqa: N818 (it is what happened, and may be mended)
    """A connection was cut, or cannot be made at the moment."""


class Unreachable(ConnectionLost):
    """Nobody answers at this address."""


def persistently(work: Callable[[], T], *, progress: Callable[[], int] = lambda: 0) -> T:
    """Do something again after each cut, until there was none or they go on for a minute.

    :param progress: a number that grows when something was achieved, after which the time counts
        from zero
    :raises ConnectionLost: the last one
    """
    pauses = iter(PAUSES)
    while True:
        before = progress()
        try:
            return work()
        except ConnectionLost as error:
            if progress() != before:
                pauses = iter(PAUSES)
            _pause_or_raise(error, pauses)


def log_in(work: Callable[[], T]) -> T:
    """Do what connects for the first time, again if it was hung up on; not if nobody is there.

    sshd hangs up at random while many log in (``MaxStartups``).

    :raises ConnectionLost: the last one
    """
    pauses = iter(LOGIN_PAUSES)
    while True:
        began = time.monotonic()
        try:
            return work()
        except Unreachable:
            raise
        except ConnectionLost as error:
            if time.monotonic() - began > _HUNG_UP:
                raise
            _pause_or_raise(error, pauses)


def _pause_or_raise(error: ConnectionLost, pauses: Iterator[float]) -> None:
    pause = next(pauses, None)
    if pause is None:
        raise error
    pause *= random.uniform(0.75, 1.25)  # not all clients at once
    log.warning("%s; trying again in %.0f s", error.message, pause)
    time.sleep(pause)
