"""What is written in bulk goes at a bounded rate."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from devops_snapshot.remote import connect
from devops_snapshot.remote.throttle import Pace

MIB = 1 << 20


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_pace_is_kept() -> None:
    clock = Clock()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    for _ in range(10):
        pace.let_pass(50)
    assert clock.now == pytest.approx(4.5)  # the first passes at once
    clock.now += 60
    pace.let_pass(50)
    assert clock.now == pytest.approx(64.5)  # and what was not used is not saved up
    with pytest.raises(ValueError, match="0 bytes a second"):
        Pace(0)


def test_all_writers_share_it_and_nothing_is_lost(tmp_path: Path) -> None:
    content = bytes(range(256)) * (MIB // 256)
    started = time.monotonic()
    with connect(f"file://{tmp_path}", rate=2 * MIB) as remote:

        def write(name: str) -> None:
            remote.write(name, [content[:1000], content[1000:]], staging=f"{name}.part")

        threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert time.monotonic() - started > 1.4
    assert [(tmp_path / name).read_bytes() for name in "abc"] == [content] * 3
