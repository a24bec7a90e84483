"""Holding all guests of an environment still, and knowing for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..hypervisor import RunState, asking, run_state
from .promise import RESUME, SUSPEND, kept, promise


@dataclass
class Freeze:
    """When each guest stopped and went on; filled in while it happens.

    :param stopped: domain name to seconds of the monotonic clock
    :param seconds: domain name to how long it stood still, at most
    """

    stopped: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def went_on(self, name: str) -> None:
        """Take the time for one guest; a second call changes nothing."""
        self.seconds.setdefault(name, time.monotonic() - self.stopped[name])

    @property
    def longest(self) -> float | None:
        """Seconds of the guest that stood still longest; None when none was running."""
        return max(self.seconds.values(), default=None)


@contextmanager
def frozen(domains: Sequence[Any], *, resume: bool = True) -> Iterator[Freeze]:
    """Suspend every running domain before anything else happens, and let exactly those go on.

    :param resume: whether they go on afterwards; after an error they always do
    """
    freeze = Freeze()
    running = [domain for domain in domains if run_state(domain) is RunState.RUNNING]
    resume_now = True
    try:
        for domain in running:
            promise(domain, RESUME)
        for domain in running:
            # Noted first: an interrupt may come right after libvirt has suspended it.
            freeze.stopped[domain.name()] = time.monotonic()
            suspend(domain)
        yield freeze
        resume_now = resume
    finally:
        with ExitStack() as every:  # one that fails does not keep the others standing still
            for domain in running:
                every.callback(kept, domain, RESUME)
            for domain in reversed(running):
                every.callback(_let_go, domain, freeze, resume=resume_now)


def _let_go(domain: Any, freeze: Freeze, *, resume: bool) -> None:
    if domain.name() not in freeze.stopped:
        return
    if resume:
        wake(domain)
    freeze.went_on(domain.name())


def suspend(domain: Any) -> None:
    """Let a running guest stand still; QEMU writes out what it has cached."""
    with asking(f"suspending {domain.name()}"):
        domain.suspend()


def wake(domain: Any) -> None:
    """Let a paused guest go on; one that runs or is off stays as it is."""
    if run_state(domain) is RunState.PAUSED:
        with asking(f"resuming {domain.name()}"):
            domain.resume()


@contextmanager
def awake(domain: Any) -> Iterator[None]:
    """Inside, a paused guest runs.

    Once its memory was saved it can neither be saved again nor have its disks moved until it does.
    """
    paused = run_state(domain) is RunState.PAUSED
    if paused:
        promise(domain, SUSPEND)
        wake(domain)
    try:
        yield
    finally:
        if paused:
            suspend(domain)
            kept(domain, SUSPEND)
