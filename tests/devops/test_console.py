"""What all commands share."""

from __future__ import annotations

import io
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from rich.progress import TimeRemainingColumn

from devops_snapshot.console import DevopsCommand, human_size, progress_bars


@pytest.fixture
def command() -> tuple[DevopsCommand, io.StringIO]:
    output = io.StringIO()
    return DevopsCommand(stdout=output), output  # type: ignore[arg-type]  # StringIO will do


def test_tables(command: tuple[DevopsCommand, io.StringIO]) -> None:
    shell, output = command
    shell.table(["NAME", "VCPU", "SIZE"], [("1e5", 2, 1.5), ("007", None, 20), ("x", 16, 3)])
    assert output.getvalue() == (
        "NAME      VCPU    SIZE\n"
        "------  ------  ------\n"
        "1e5          2     1.5\n"
        "007                 20\n"
        "x           16       3\n"
    )


def test_a_table_without_rows_is_nothing(command: tuple[DevopsCommand, io.StringIO]) -> None:
    shell, output = command
    shell.table(["NAME"], [])
    assert output.getvalue() == ""


def test_json(command: tuple[DevopsCommand, io.StringIO]) -> None:
    shell, output = command
    shell.json({"name": "ä", "sizes": [1, 2]})
    assert json.loads(output.getvalue()) == {"name": "ä", "sizes": [1, 2]}


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (20 << 40, "20.0 TiB"),
        (3000 << 40, "3000.0 TiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert human_size(size) == text


def test_progress_is_silent_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bars() as progress:
        task = progress.add_task("sending", total=100)
        progress.advance(task, 100)
    assert capfd.readouterr() == ("", "")


def test_progress_on_a_terminal_tells_rate_and_remaining_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(TimeRemainingColumn, "max_refresh", None)  # else after half a second
    reading, writing = os.openpty()
    with os.fdopen(writing, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr("sys.stderr", terminal)
        with progress_bars() as progress:
            task = progress.add_task("fetching", total=8 << 20)
            for _ in range(3):
                progress.advance(task, 1 << 20)
                time.sleep(0.01)
            progress.refresh()
    shown = "".join(all_of(reading))
    assert "fetching" in shown
    assert "3.0/8.0 MiB" in shown
    assert re.search(r"\d [kMG]?B/s", shown)
    assert re.search(r"\d:\d\d:\d\d", shown)


def all_of(screen: int) -> Iterator[str]:
    """What a terminal has shown that is closed at its other end."""
    with os.fdopen(screen, "rb", buffering=0) as file, suppress(OSError):
        while block := file.read(1 << 16):
            yield block.decode(errors="replace")
