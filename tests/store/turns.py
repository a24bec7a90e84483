"""Remotes that let something happen between any two operations of a client, or let it die there."""

from __future__ import annotations

import inspect
import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from devops_snapshot.remote import Remote


class Killed(BaseException):
    """Unwinds a client that has been killed; nothing that it would clean up has an effect."""


#: Every how many operations something happens. The suite has no time for all of them each time;
#: ``EVERY_OPERATION=1 pytest tests/store/test_collection_races.py`` takes it.
STEP = 1 if os.environ.get("EVERY_OPERATION") else 11


class Interrupted:
    """A remote that calls back before its operation number ``at``, and then goes on.

    Operations of threads of the client count, too.
    """

    def __init__(self, remote: Remote, at: int, call: Callable[[], object]) -> None:
        self.fired = False
        self._remote = remote
        self._at = at
        self._call = call
        self._count = itertools.count()
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._remote, name)
        if not inspect.ismethod(attribute):
            return attribute

        def counted(*args: Any, **options: Any) -> Any:
            with self._lock:  # nobody else of this client goes on meanwhile
                if next(self._count) == self._at:
                    self.fired = True
                    self._call()
            return attribute(*args, **options)

        return counted


class Dying:
    """A remote whose client is killed before its operation number ``at``."""

    def __init__(self, remote: Remote, at: int) -> None:
        self.dead = False
        self._remote = remote
        self._at = at
        self._count = itertools.count()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._remote, name)
        if not inspect.ismethod(attribute):
            return attribute

        def mortal(*args: Any, **options: Any) -> Any:
            if self.dead or next(self._count) >= self._at:
                self.dead = True
                raise Killed
            return attribute(*args, **options)

        return mortal


def at_every_operation(
    remote: Remote, happening: Callable[[], object], *, step: int = STEP
) -> Iterator[Any]:
    """Yield remotes for one client each, until one had no operation left to be interrupted at.

    :param step: with 3, every third operation is interrupted, in each run of the tests others
    """
    for at in itertools.count(random.randrange(step), step):
        interrupted = Interrupted(remote, at, happening)
        yield interrupted
        if not interrupted.fired:
            assert at > 5, "the client did next to nothing"
            return


def dying_everywhere(remote: Remote, *, step: int = STEP) -> Iterator[Any]:
    """Yield remotes for one client each, until one was not killed any more."""
    for at in itertools.count(random.randrange(step), step):
        dying = Dying(remote, at)
        yield dying
        if not dying.dead:
            assert at > 5, "the client did next to nothing"
            return


def let_die(work: Callable[[], object]) -> None:
    with suppress(Killed):
        work()
