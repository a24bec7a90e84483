"""Several things at once, and how that ends."""

from __future__ import annotations

import threading

import pytest

from devops_snapshot.snapshot.parallel import WORKERS, for_all


def test_all_are_done_at_once() -> None:
    together = threading.Barrier(WORKERS, timeout=10)
    done: list[int] = []

    def work(number: int) -> None:
        together.wait()
        done.append(number)

    for_all(range(WORKERS), work)
    assert sorted(done) == list(range(WORKERS))
    for_all([], work)


def test_an_error_is_raised_when_all_have_ended() -> None:
    begun, given_up, ended = threading.Event(), threading.Event(), threading.Event()

    def work(number: int) -> None:
        if number == 0:
            assert begun.wait(10)
            raise ValueError("zero")
        begun.set()
        assert given_up.wait(10)
        ended.set()

    with pytest.raises(ValueError, match="zero"):
        for_all([0, 1], work, give_up=lambda number: given_up.set() if number else None)
    assert ended.is_set()


def test_what_has_not_begun_never_does() -> None:
    begun: list[int] = []
    release = threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        release.wait(10)

    def heed() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        for_all(range(WORKERS + 5), work, heed=heed, give_up=lambda _: release.set())
    assert len(begun) == WORKERS
