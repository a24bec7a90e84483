"""``dos.py list-exports``: what people and programs see of exports, and of deleted ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from tabulate import tabulate

from devops_snapshot.management.columns import Row, fit
from devops_snapshot.store import Repository, delete_export, pin_export

from .place import opened

HEADERS = ("ID", "ENVIRONMENT", "SNAPSHOTS", "NODES")
ROW = ("20261122T141503Z-5f2a9c01", "env", "a snapshot, another snapshot", 10)


def publish(repository: Repository, environment: str, keep: timedelta | None = None) -> str:
    with repository.writing() as session:
        session.publish(b"{}", {"environment": environment, "snapshots": ["s"]}, keep)
        return session.export_id


def dos(directory: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "devops_snapshot", "list-exports", *arguments]
    storage = ["--storage", f"file://{directory}"]
    done = subprocess.run([*command, *storage], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


def test_programs_learn_when_an_export_expires(storage: Path) -> None:
    with opened(storage) as repository:
        usual = publish(repository, "a")
        short = publish(repository, "b", timedelta(hours=1))
        long = publish(repository, "c", timedelta(days=30))
        pinned = publish(repository, "d")
        gone = publish(repository, "e")
        pin_export(repository, pinned, by="somebody")
        delete_export(repository, gone)
    listed = {one["id"]: one for one in json.loads(dos(storage, "--json"))}
    assert list(listed) == [usual, short, long, pinned]
    now = datetime.now(timezone.utc)
    days = {}
    for export_id, one in listed.items():
        stored = datetime.fromisoformat(one["stored"])
        assert abs(stored - now) < timedelta(minutes=5)
        expires = one["expires"] and datetime.fromisoformat(one["expires"])
        days[export_id] = expires and (expires - stored) / timedelta(days=1)
    assert days == {usual: 7, short: 2, long: 30, pinned: None}  # the minimum age is two days
    assert [one["pinned"] for one in listed.values()] == [False, False, False, True]
    assert [one["keep_seconds"] for one in listed.values()] == [None, 3600, 30 * 86400, None]
    assert listed[usual]["environment"] == "a"
    (deleted,) = json.loads(dos(storage, "--json", "--deleted"))
    assert (deleted["id"], deleted["deleted"], deleted["expires"]) == (gone, True, None)


def test_people_learn_it_too(storage: Path) -> None:
    with opened(storage) as repository:
        usual = publish(repository, "a")
        pinned = publish(repository, "b")
        gone = publish(repository, "c")
        pin_export(repository, pinned, by="somebody")
        delete_export(repository, gone)
    lines = dos(storage).splitlines()
    assert lines[0].split()[-1] == "EXPIRES"
    assert [line.split()[0] for line in lines[2:]] == [usual, pinned]
    assert lines[2].endswith(("in 7 days", "in 7.0 days"))
    assert lines[3].endswith("pinned by somebody")
    deleted = dos(storage, "--deleted").splitlines()[2:]
    assert [(line.split()[0], line.split()[-1]) for line in deleted] == [(gone, "deleted")]


def test_a_terminal_is_not_needed(storage: Path) -> None:
    """In a pipe nothing is cut, however long it is."""
    with opened(storage) as repository, repository.writing() as session:
        session.publish(b"{}", {"environment": "x" * 200, "description": "y" * 200})
    shown = dos(storage)
    assert "x" * 200 in shown
    assert "y" * 200 in shown


def cells(width: int | None) -> tuple[Sequence[str], Row, int]:
    headers, rows = fit(
        HEADERS,
        [ROW, ROW],
        width=width,
        flexible={"ENVIRONMENT", "SNAPSHOTS"},
        dispensable=("NODES", "ENVIRONMENT"),
    )
    table = tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True)
    return headers, rows[0], max(map(len, table.splitlines()))


@pytest.mark.parametrize("width", [None, 200, 79])
def test_what_fits_is_left_as_it_is(width: int | None) -> None:
    headers, row, shown = cells(width)
    assert (tuple(headers), tuple(row)) == (HEADERS, ROW)
    assert shown == 79


def test_long_cells_are_cut_and_then_columns_are_left_out() -> None:
    headers, row, width = cells(70)
    assert tuple(headers) == HEADERS
    assert row == [ROW[0], ROW[1], "a snapshot, anothe…", ROW[3]]
    assert width == 70
    headers, row, width = cells(60)
    assert headers == ["ID", "ENVIRONMENT", "SNAPSHOTS"]
    assert width == 60
    headers, row, width = cells(45)
    assert headers == ["ID", "SNAPSHOTS"]
    assert row == [ROW[0], "a snapshot, anoth…"]
    assert width == 45
    assert cells(10)[2] == 40  # that is all that can be done


def test_an_empty_table_fits() -> None:
    assert fit(HEADERS, [], width=10, flexible=HEADERS) == (HEADERS, [])
