"""Work in threads without queueing all of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_bounded(
    work: Callable[[T], R], items: Iterable[T], threads: Executor, *, under_way: int = 8
) -> Iterator[R]:
    """Like ``Executor.map``, but takes no more than ``under_way`` items ahead of the results.

    After the first failure nothing new is started, and what runs is waited for.
    """
    futures: deque[Future[R]] = deque()
    try:
        for item in items:
            futures.append(threads.submit(work, item))
            if len(futures) >= under_way:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:
        for future in futures:
            future.cancel()
