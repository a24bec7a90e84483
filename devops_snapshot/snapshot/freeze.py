"""Holding all guests of an environment still, and knowing for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..hypervisor import RunState, asking, run_state


@dataclass
class Freeze:
    """When each guest stopped and went on; filled in while it happens.

    :param stopped: domain name to seconds of the monotonic clock
    :param seconds: domain name to how long it stood still
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
            with asking(f"suspending {domain.name()}"):
                domain.suspend()
            freeze.stopped[domain.name()] = time.monotonic()
        yield freeze
        resume_now = resume
    finally:
        _let_go(running, freeze, resume=resume_now)


def _let_go(domains: Sequence[Any], freeze: Freeze, *, resume: bool) -> None:
    for domain in domains:
        if domain.name() not in freeze.stopped:
            continue
        if resume and run_state(domain) is RunState.PAUSED:
            with asking(f"resuming {domain.name()}"):
                domain.resume()
        freeze.went_on(domain.name())


def states_of(domains: Mapping[str, Any]) -> dict[str, RunState]:
    """What each domain is doing, by its key."""
    return {key: run_state(domain) for key, domain in domains.items()}
