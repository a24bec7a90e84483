"""Clients of one repository that take turns, one remote operation at a time, as a test decides.

Each :class:`Actor` runs in threads of its own, but every operation on the storage node waits to be
let through. An actor that is not let through stands still like a process that was suspended; one
that is killed has no more effect, not even by what it would clean up.
"""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

from devops_snapshot.remote import Remote

T = TypeVar("T")
PATIENCE = 30.0  # seconds that an actor may compute between two operations


class Killed(BaseException):
    """Unwinds the threads of an actor that was killed."""


class _Turn:
    """One operation that waits to be let through."""

    def __init__(self, operation: str) -> None:
        self.operation = operation


class Actor(Generic[T]):
    """A client at work; from :meth:`start` on it waits at its first operation.

    :param work: what it does, given its own view of the repository's place
    :param view: makes that view of the place
    """

    def __init__(
        self,
        name: str,
        remote: Remote,
        work: Callable[[Remote], T],
        *,
        view: Callable[[Remote, Actor[Any]], StagedRemote] | None = None,
    ) -> None:
        self.name = name
        self.result: T | None = None
        self.error: BaseException | None = None
        self.operations: list[str] = []
        self._work = work
        self._remote = remote
        self._view = view or StagedRemote
        self._changed = threading.Condition()
        self._waiting: deque[_Turn] = deque()
        self._allowed: set[_Turn] = set()
        self._busy = 0
        self._killed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> Actor[T]:
        self._thread.start()
        return self

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    @property
    def killed(self) -> bool:
        return self._killed

    def step(self) -> bool:
        """Let one operation through and wait for its end; False if the actor had none left."""
        with self._changed:
            if not self._await(lambda: bool(self._waiting) or self.done):
                raise AssertionError(f"{self.name} is stuck after {self.operations[-3:]}")
            if not self._waiting:
                return False
            turn = self._waiting.popleft()
            self._allowed.add(turn)
            self._busy += 1
            self._changed.notify_all()
            if not self._await(lambda: not self._busy):
                raise AssertionError(f"{self.name} is stuck in {self.operations[-1]}")
        return True

    def coming(self) -> str:
        """Return the operation that the next step lets through; nothing if none is left."""
        with self._changed:
            self._await(lambda: bool(self._waiting) or self.done)
            return self._waiting[0].operation if self._waiting else ""

    def finish(self) -> Actor[T]:
        """Let everything through until the actor is done."""
        while self.step():
            pass
        self._thread.join(PATIENCE)
        return self

    def kill(self) -> None:
        """Let no operation through any more."""
        with self._changed:
            self._killed = True
            self._changed.notify_all()
        self._thread.join(PATIENCE)
        assert self.done, f"{self.name} does not end"

    def pass_through(self, operation: str, effect: Callable[[], Any]) -> Any:
        """Wait to be let through, then have an effect. Called by the actor's own threads."""
        turn = _Turn(operation)
        with self._changed:
            self._waiting.append(turn)
            self._changed.notify_all()
            self._changed.wait_for(lambda: turn in self._allowed or self._killed)
            if turn not in self._allowed:
                self._waiting.remove(turn)
                raise Killed
            self._allowed.remove(turn)
            self.operations.append(operation)
        try:
            return effect()
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def _run(self) -> None:
        try:
            self.result = self._work(self._view(self._remote, self))
        except BaseException as error:
            self.error = error
        finally:
            with self._changed:
                self._changed.notify_all()

    def _await(self, condition: Callable[[], bool]) -> bool:
        """Wait with the lock; the end of the thread is not notified, so look now and then."""
        for _ in range(int(PATIENCE / 0.01)):
            if self._changed.wait_for(condition, timeout=0.01):
                return True
        return False


class StagedRemote:
    """A remote whose operations wait for their turn; the data of a write is collected before."""

    def __init__(self, remote: Remote, actor: Actor[Any]) -> None:
        self._remote = remote
        self._actor = actor

    def write(self, path: str, data: Iterable[bytes], *, staging: str) -> int:
        blocks = list(data)
        effect = partial(self._remote.write, path, blocks, staging=staging)
        written: int = self._actor.pass_through(f"write {path}", effect)
        return written

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._remote, name)
        if not inspect.ismethod(attribute):
            return attribute

        def gated(*args: Any, **options: Any) -> Any:
            what = " ".join([name, *map(str, args)])
            return self._actor.pass_through(what, partial(attribute, *args, **options))

        return gated


def ignore_killed() -> Callable[[threading.ExceptHookArgs], None]:
    """A hook for ``threading.excepthook`` that is silent about threads of killed actors."""
    usual = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_type is not Killed:
            usual(arguments)

    return hook
