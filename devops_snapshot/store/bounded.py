"""Work in threads without queueing all of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Final, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")
_END: Final = object()


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


def ahead(items: Iterable[T], thread: Executor, *, under_way: int) -> Iterator[T]:
    """Yield items that are taken in another thread, up to ``under_way`` before they are wanted.

    :param thread: an executor with exactly one thread
    """
    iterator = iter(items)
    futures = deque(thread.submit(next, iterator, _END) for _ in range(under_way))
    try:
        while (item := futures.popleft().result()) is not _END:
            futures.append(thread.submit(next, iterator, _END))
            yield cast(T, item)
    finally:
        for future in futures:
            future.cancel()
