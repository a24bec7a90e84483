"""Signals wait until nothing is half made."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devops_snapshot.interrupts import held_back


def interrupt(number: signal.Signals = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@contextmanager
def handled(number: signal.Signals, handler: signal.Handlers) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_takes_effect_at_the_end() -> None:
    reached = []

    def work() -> None:
        with held_back():
            interrupt()
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached


def test_takes_effect_where_it_is_heeded() -> None:
    reached = []

    def work() -> None:
        with held_back() as interrupts:
            interrupts.heed()
            interrupt()
            interrupts.heed()
            reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert not reached
    with pytest.raises(KeyboardInterrupt):  # as it was before
        interrupt()


def test_an_error_goes_before_an_interrupt() -> None:
    def work() -> None:
        with held_back():
            interrupt()
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"):
        work()


def test_what_would_end_the_process_ends_it_in_order() -> None:
    with (
        handled(signal.SIGTERM, signal.SIG_DFL),
        pytest.raises(SystemExit) as caught,
        held_back(),
    ):
        interrupt(signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM


def test_what_is_ignored_stays_ignored() -> None:
    with handled(signal.SIGHUP, signal.SIG_IGN), held_back() as interrupts:
        interrupt(signal.SIGHUP)
        interrupts.heed()


def test_other_threads_are_left_alone() -> None:
    seen = []

    def work() -> None:
        with held_back() as interrupts:
            interrupts.heed()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
