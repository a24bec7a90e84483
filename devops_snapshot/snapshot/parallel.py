"""Doing something to all nodes at once: libvirt keeps each caller waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from ..interrupts import Heed, heed_nothing

T = TypeVar("T")

WORKERS = 8
_POLL = 0.1  # seconds between two looks whether the user wants to stop


def for_all(
    items: Sequence[T],
    action: Callable[[T], None],
    *,
    heed: Heed = heed_nothing,
    give_up: Callable[[T], None] | None = None,
) -> None:
    """Do it in threads; the first error is raised when all have ended.

    The threads must not touch the database: Django would open a connection for each.

    :param heed: called again and again meanwhile; may raise to end it
    :param give_up: called after an error, for each item that is being worked on
    """
    with ThreadPoolExecutor(max_workers=WORKERS) as workers:
        futures = {workers.submit(action, item): item for item in items}
        try:
            _wait(futures, heed)
        except BaseException:
            for future, item in futures.items():
                if not future.cancel() and give_up is not None:
                    give_up(item)
            raise


def _wait(futures: Iterable[Future[None]], heed: Heed) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_POLL, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        heed()
