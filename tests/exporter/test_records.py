"""What an export leaves behind: its record, its output, and the snapshot it was made from."""

from __future__ import annotations

import json
import os
import pty
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bed import Bed
from tests.journey.scenario import Place

DOS = [sys.executable, "-m", "devops_snapshot"]


@pytest.fixture(scope="module")
def alpha(bed: Bed) -> Iterator[Place]:
    """A host with an environment that is off."""
    place = Place(bed.host("alpha"))
    place.create(boot=False)
    yield place
    bed.clean()


def last_export(place: Place) -> dict[str, Any]:
    [database] = (place.host.home / ".devops").glob("*.sqlite3")
    with sqlite3.connect(database) as connection:
        connection.row_factory = sqlite3.Row
        query = "SELECT * FROM devops_snapshot_export ORDER BY id DESC LIMIT 1"
        return dict(connection.execute(query).fetchone())


def test_a_record_says_what_was_done(alpha: Place, storage: str) -> None:
    printed = alpha.export("--description", "nightly", storage=storage)
    record = last_export(alpha)
    assert record["state"] == "done"
    assert record["error"] == ""
    assert record["export_id"] == printed["id"]
    assert json.loads(record["snapshots"]) == printed["snapshots"]
    assert record["bytes_sent"] == printed["bytes_sent"] > 15_000_000  # the base image is noise
    assert record["bytes_read"] >= record["bytes_deduplicated"] > 1_000_000  # one ISO of two
    assert record["freeze_seconds"] is None  # nobody ran
    assert record["started"] < record["finished"]
    assert record["storage_url"] == storage


TWICE = """
import sys
import tests.devops.databases
from devops_snapshot.devops.models import Environment
from devops_snapshot.exporter import Wanted, export

options = {"storage": sys.argv[1], "wanted": Wanted(definitions_only=True)}
for export_id in (None, sys.argv[2] or None):
    print(export(Environment.get(name="trip"), **options, export_id=export_id).export_id)
"""


def test_an_export_that_somebody_else_has_published(alpha: Place, storage: str) -> None:
    """A worker that took it in, and was killed before it could say so."""
    one, _ = alpha.host.python("-c", TWICE, storage, "").stdout.split()
    other, same = alpha.host.python("-c", TWICE, storage, one).stdout.split()
    assert same == one
    exports = json.loads(alpha.dos("list-exports", "--storage", storage, "--json"))
    assert len(exports) == 3
    assert {one, other} <= {export["id"] for export in exports}
    assert last_export(alpha)["state"] == "done"


def test_a_time_below_the_minimum_age(alpha: Place, storage: str) -> None:
    command = ["export-env", "trip", "--definitions-only", "--storage", storage]
    short = alpha.host.dos(*command, "--keep", "90m").stderr
    assert short.startswith(
        f"WARNING: The export is kept for 48 h all the same: that is the minimum age of {storage}\n"
    )
    assert "WARNING" not in alpha.host.dos(*command, "--keep", "2d").stderr


def test_a_hook_reports_of_which_test_it_is(alpha: Place, storage: str) -> None:
    """By standard input; what the CI knows comes on top, and no mistake is worth an export."""
    report = {"name": "deploy_ha", "outcome": "failed", "traceback": "x\n" * 20_000, "mood": 1}
    command = ("export-env", "trip", "--definitions-only", "--storage", storage)
    options = ("--test-report", "-", "--tag", "release=9.1", "--description", "Failed \udcff")
    env = {**alpha.env, "JOB_NAME": "nightly", "BUILD_NUMBER": "7"}
    done = alpha.host.dos(*command, *options, "--detach", env=env, input=json.dumps(report))
    assert "WARNING: The test report has 'mood', which is unknown, and left out\n" in done.stderr
    [waiting] = json.loads(alpha.dos("export-status", "--json"))
    assert (waiting["test"], waiting["outcome"]) == ("deploy_ha", "failed")
    alpha.dos("export-worker", "--once")
    told = alpha.manifest(storage)["provenance"]
    assert len(told["test"].pop("traceback")) > 16_000
    known = {name: value for name, value in told["test"].items() if value}
    assert known == {"name": "deploy_ha", "outcome": "failed", "job": "nightly", "build": "7"}
    assert told["tags"] == {"release": "9.1"}
    assert told["description"] == "Failed \\udcff"
    search = ("list-exports", "--storage", storage, "--json", "--since", "1h", "--failed")
    [found] = json.loads(alpha.dos(*search, "--test", "deploy_*", "--tag", "release=9.1"))
    assert found["id"] == done.stdout.strip()
    code, line = alpha.refused(*command, "--test-report", "/nowhere/report")
    assert (code, line) == (
        1,
        "Error: cannot read the test report '/nowhere/report': No such file or directory",
    )
    assert alpha.refused(*command, "--test", "deploy_ha")[0] == 2
    assert len(json.loads(alpha.dos("list-exports", "--storage", storage, "--json"))) == 1


def test_a_failed_export_keeps_its_snapshot_and_says_so(alpha: Place, storage: str) -> None:
    alpha.export("--definitions-only", storage=storage)
    [missing] = alpha.host.pool_dir.glob("trip_node-2_iso")
    aside = missing.rename(alpha.host.directory / "aside")
    try:
        code, line = alpha.refused("export-env", "trip", "--storage", storage)
    finally:
        aside.rename(missing)
    assert code == 3
    assert str(missing) in line
    kept = alpha.snapshots()[-1]
    assert f"{kept!r} was taken and is kept" in line
    record = last_export(alpha)
    assert (record["state"], record["error"]) == ("failed", line.removeprefix("Error: "))
    listed = alpha.dos("list-exports", "--storage", storage, "--json")
    assert len(json.loads(listed)) == 1
    assert alpha.export("--snapshot", kept, storage=storage)["snapshots"] == [kept]


def test_an_interrupted_export_is_cancelled(alpha: Place, storage: str) -> None:
    process = alpha.host.popen([*DOS, "export-env", "trip", "--storage", storage])
    leases = Path(storage.removeprefix("file://")) / "leases"
    deadline = time.monotonic() + 60
    while not leases.is_dir() or not any(leases.iterdir()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert f"Snapshot {alpha.snapshots()[-1]!r} was taken and is kept" in stderr
    record = last_export(alpha)
    assert (record["state"], record["error"]) == ("cancelled", "interrupted")
    assert record["finished"]
    assert json.loads(alpha.dos("list-exports", "--storage", storage, "--json")) == []


def test_bars_are_shown_on_a_terminal_only(alpha: Place, storage: str) -> None:
    arguments = ["export-env", "trip", "--storage", storage]
    ours, theirs = pty.openpty()
    process = alpha.host.popen([*DOS, *arguments], stderr=theirs, env={"TERM": "xterm"})
    os.close(theirs)
    seen = b""
    while True:
        try:
            seen += os.read(ours, 65536)
        except OSError:  # the other side has closed the terminal
            break
    os.close(ours)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"Exporting" in seen
    assert b"\x1b[" in seen
    quiet = alpha.host.dos(*arguments)
    assert "Exporting" not in quiet.stderr
    assert "\x1b" not in quiet.stderr + quiet.stdout
    assert len(quiet.stdout.splitlines()) == 1  # the id, for scripts


@pytest.mark.parametrize("command", ["export-env", "import-env", "list-exports", "show-export"])
def test_help_has_examples_that_parse(alpha: Place, command: str) -> None:
    shown = alpha.dos(command, "--help")
    examples = [line.strip() for line in shown.partition("examples:")[2].splitlines()]
    assert any(line.startswith(f"dos.py {command} ") for line in examples)


def test_exports_are_shown_to_people_and_to_programs(alpha: Place, storage: str) -> None:
    record = alpha.export(storage=storage)
    [listed] = json.loads(alpha.dos("list-exports", "--storage", storage, "--json"))
    assert listed["id"] == record["id"]
    assert listed["nodes"] == ["node-1", "node-2"]
    table = alpha.dos("list-exports", "--storage", storage, "--env", "trip")
    assert table.splitlines()[0].split()[0] == "ID"
    assert record["id"] in table
    assert alpha.dos("list-exports", "--storage", storage, "--env", "other") == ""
    shown = alpha.dos("show-export", record["id"][:12], "--storage", storage)
    for word in (*record["snapshots"], "trip_admin", "node-2", "trip_node-1_iso", "nat"):
        assert word in shown
