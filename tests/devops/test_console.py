"""What all commands share."""

from __future__ import annotations

import io
import json

import pytest

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
