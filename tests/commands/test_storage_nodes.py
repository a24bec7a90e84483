"""Commands for storage nodes: what they say, and their exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from devops_snapshot.management.quantities import duration, human_duration, size
from devops_snapshot.remote import AccessError, connect
from devops_snapshot.remote.local import LocalRemote
from devops_snapshot.shell import main
from devops_snapshot.store import leases
from devops_snapshot.store.format import names
from devops_snapshot.store.format.sealed import seal
from devops_snapshot.store.lease import hold_lease

from .conftest import Node, resealed

NEWER_SETTINGS = resealed(seal("settings", {}), version=2)
COMMANDS = ["storage-init", "storage-status", "storage-configure", "storage-collect"]


def wait_for(node: Node, pattern: str) -> None:
    deadline = time.monotonic() + 30
    while not list(node.directory.glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_init(node: Node, tmp_path: Path) -> None:
    url = f"file://{tmp_path / 'other'}"
    done = node.dos("storage-init", url, "--keep", "2w", "--min-age", "90m")
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        f"Made a repository at {url}: exports are kept for 14 days, and none is removed "
        "automatically before it is 90 min old\n"
    )
    made = {path.name for path in (tmp_path / "other").iterdir()}
    assert {"exports", "layers", "leases", "packs", "deleted", "repository.json"} < made
    assert made == set(names.DIRECTORIES) | {"repository.json"}
    done = node.dos("storage-init", url)
    assert (done.code, done.out) == (4, "")
    assert done.err == f"Error: There is a repository at {url} already\n"


def test_init_beside_something_else(node: Node, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home/thesis.tex").touch()
    done = node.dos("storage-init", f"file://{tmp_path / 'home'}", "--json")
    assert (done.code, done.out) == (6, "")
    assert "'thesis.tex'" in done.err
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["thesis.tex"]


def test_init_of_a_damaged_repository(node: Node) -> None:
    (node.directory / "repository.json").write_bytes(b"x\n")
    done = node.dos("storage-init", node.url)
    assert (done.code, done.err.count("\n")) == (7, 1)


def test_configure(node: Node) -> None:
    done = node.dos("storage-configure", node.url)
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"{node.url}: exports are kept for 7 days, and none is removed automatically before it is "
        "48 h old\n"
    )
    done = node.dos("storage-configure", node.url, "--keep", "30d", "--json")
    assert done.json["keep_seconds"] == 30 * 86400
    node.dos("storage-configure", node.url, "--min-age", "72h")
    done = node.dos("storage-configure", node.url, "--json")
    assert (done.json["keep_seconds"], done.json["min_age_seconds"]) == (30 * 86400, 72 * 3600)


def test_a_time_below_the_minimum_age(node: Node, tmp_path: Path) -> None:
    warning = (
        "WARNING: exports are kept for 48 h all the same: that is the minimum age, and 90 min is "
        "less\n"
    )
    done = node.dos("storage-init", f"file://{tmp_path / 'other'}", "--keep", "90m", "--json")
    assert (done.code, done.err, done.json["keep_seconds"]) == (0, warning, 5400)
    done = node.dos("storage-configure", node.url, "--keep", "90m")
    assert (done.code, done.err) == (0, warning)
    assert node.dos("storage-configure", node.url).err == warning
    assert node.dos("storage-configure", node.url, "--min-age", "90m").err == ""


@pytest.mark.parametrize("content", [b"x\n", NEWER_SETTINGS], ids=["damaged", "newer"])
def test_settings_that_cannot_be_read(node: Node, content: bytes) -> None:
    """All is shown but what they say; nothing is removed; new ones make it good."""
    expired, pinned = node.export("one", old=True), node.export("two")
    node.dos("pin-export", pinned, "--by", "Ann")
    node.dos("storage-configure", node.url, "--keep", "3d")
    (node.directory / "settings/00000001.json").write_bytes(content)
    listed = node.dos("list-exports")
    assert listed.code == 0
    assert [line.split()[0] for line in listed.out.splitlines()[2:]] == [expired, pinned]
    assert listed.out.splitlines()[2].endswith("  unknown")
    assert listed.out.splitlines()[3].endswith("  pinned by Ann")
    assert [one["expires"] for one in node.dos("list-exports", "--json").json] == [None, None]
    status = node.dos("storage-status", node.url)
    assert (status.code, listed.err) == (0, status.err)
    assert listed.err.startswith("WARNING: settings/00000001.json ")
    assert listed.err.count("\n") == 1
    assert "Exports:       2, of these 1 pinned, an unknown number expired;" in status.out
    told = node.dos("storage-status", node.url, "--json").json
    assert (told["exports"], told["expired"], told["keep_seconds"]) == (2, None, None)
    for command in (["prune-exports"], ["storage-configure", node.url, "--keep", "4d"]):
        assert node.dos(*command).code == 7
    assert node.ids() == [expired, pinned]
    if content != NEWER_SETTINGS:
        assert "storage-configure with both --keep and --min-age" in listed.err
        done = node.dos("storage-configure", node.url, "--keep", "4d", "--min-age", "1d")
        assert (done.code, done.err) == (0, "")
        assert node.dos("prune-exports", "--json").json["deleted"] == [expired]


@pytest.mark.parametrize("text", ["7", "7x", "d", "-1d", "1.5h", ""])
def test_times_that_make_no_sense(node: Node, text: str) -> None:
    done = node.dos("storage-configure", node.url, f"--keep={text}")
    assert done.code == 2
    assert f"{text!r} is no duration: give a number and a unit" in done.err


def test_status(node: Node) -> None:
    empty = node.dos("storage-status", node.url, "--json").json
    assert (empty["exports"], empty["stored"], empty["ratio"]) == (0, 0, None)
    assert (empty["collected"], empty["verified"], empty["leases"]) == (None, None, [])
    assert node.dos("storage-status", node.url).out.endswith("At work:       nobody\n")
    first = node.export("one", old=True)
    for name in ("one", "two", "two"):
        last = node.export(name)
    node.dos("pin-export", last)
    node.dos("delete-export", node.ids()[1])
    node.dos("storage-collect", node.url)
    node.dos("verify-exports", "--read-data")
    with connect(node.url) as remote, hold_lease(remote, {"purpose": "import", "export": first}):
        told = node.dos("storage-status", node.url, "--json").json
        shown = node.dos("storage-status", node.url)
    assert (told["exports"], told["pinned"], told["expired"], told["deleted"]) == (3, 1, 1, 0)
    assert 200_000 < told["stored"] < 210_000
    assert told["logical"] == 300_000
    assert 1.4 < told["ratio"] < 1.5
    assert 4_000_000 < told["stored_per_day"] < 24 * 210_000  # in an hour, as far as it knows
    free = os.statvfs(node.directory).f_bavail * os.statvfs(node.directory).f_frsize
    assert told["free"] == pytest.approx(free, rel=0.2)
    assert told["lasts_seconds"] == pytest.approx(
        told["free"] / told["stored_per_day"] * 86400, rel=0.01
    )
    assert told["collected"]["discarded"] == 1
    assert 0 <= told["verified"]["age_seconds"] < 60
    assert told["data_verified"]["findings"] == 0
    [lease] = told["leases"]
    assert (lease["purpose"], lease["export"], lease["seems_dead"]) == ("import", first, False)
    assert lease["process"] == os.getpid()
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert (
        "Exports:       3, of these 1 pinned, 1 expired; 0 deleted that can be undeleted" in lines
    )
    assert any(re.fullmatch(r"Verified:      \d+ s ago \(.* UTC\), no damage", x) for x in lines)
    assert any(line.startswith("import   ") for line in lines)


def test_status_by_who_may_only_read(node: Node) -> None:
    """The same as for others, by this machine's clock."""
    node.export("one")

    def refuse(*_: object, **__: object) -> int:
        raise AccessError("No permission")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalRemote, "write", refuse)
        told = node.dos("storage-status", node.url, "--json").json
    assert told["exports"] == 1


def test_status_of_one_that_died(node: Node) -> None:
    with connect(node.url) as remote, hold_lease(remote, {"purpose": "export"}) as lease:
        wait_for(node, "leases/*/beat-0")
        then = time.time() - 3600
        for path in (node.directory / lease.directory).iterdir():
            os.utime(path, (then, then))
        [told] = node.dos("storage-status", node.url, "--json").json["leases"]
        assert told["seems_dead"]
        assert told["silent_seconds"] == pytest.approx(3600, abs=60)
        assert "60 min ago, dead?" in node.dos("storage-status", node.url).out


def test_collect(node: Node) -> None:
    assert node.dos("storage-collect", node.url).out == (
        "Freed 0 B: 0 packs, 0 layers, 0 deleted exports\n"
    )
    export_id = node.export("one")
    node.dos("delete-export", export_id)
    dry = node.dos("storage-collect", node.url, "--dry-run")
    assert re.fullmatch(r"Would free 9\d\.\d KiB: 1 pack, 1 layer, 1 deleted export\n", dry.out)
    with connect(node.url) as remote, hold_lease(remote, {"purpose": "export"}):
        done = node.dos("storage-collect", node.url)
    assert done.out.startswith("Freed 0 B: 0 packs, 0 layers, 1 deleted export\n9")
    assert "more with the next collection, after these have ended:\n  export on " in done.out
    done = node.dos("storage-collect", node.url, "--wait")
    assert re.fullmatch(r"Freed 9\d\.\d KiB: 1 pack, 1 layer, 0 deleted exports\n", done.out)


@pytest.mark.parametrize("command", ["storage-collect", "delete-export", "undelete-export"])
def test_it_is_told_why_it_waits(node: Node, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Somebody has died there, which shows only after a while."""
    one, two = node.export("one"), node.export("two")
    node.dos("delete-export", two)
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.2)
    purpose, export_id = {
        "storage-collect": ("export", two),
        "delete-export": ("delete", one),
        "undelete-export": ("delete", two),
    }[command]
    dead = node.directory / "leases" / ("0" * 32)
    dead.mkdir()
    told = {"host": "ci-17", "process": 4711, "taken": "2026-11-22T21:31:26+00:00"}
    fields = {"purpose": purpose, "export": export_id, "moves": export_id, **told}
    (dead / "lease.json").write_bytes(seal("lease", {"lease": dead.name, **fields}))
    for path in (dead / "lease.json", dead):
        os.utime(path, (1.7e9, 1.7e9))
    done = node.dos(command, node.url if command == "storage-collect" else export_id)
    assert done.code == 0
    assert done.err.startswith("Watching for up to 90 s whether others still live: ")
    assert not dead.exists()
    assert "Watching" not in node.dos("storage-status", node.url).err


def test_what_keeps_from_collecting_is_named(node: Node) -> None:
    export_id = node.export("one")
    path = node.directory / f"exports/{export_id}.json"
    path.write_bytes(path.read_bytes()[:-3].replace(b"one", b"two"))
    done = node.dos("storage-collect", node.url)
    assert done.code == 7
    last = done.err.splitlines()[-1]
    assert last.startswith("Error: ")
    assert export_id in last


def test_ctrl_c_leaves_no_lease(node: Node) -> None:
    """Also while it waits for others."""
    export_id = node.export("one")
    node.dos("delete-export", export_id)
    with connect(node.url) as remote, hold_lease(remote, {"purpose": "export"}) as other:
        command = [sys.executable, "-m", "devops_snapshot", "storage-collect", node.url, "--wait"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            wait_for(node, "condemned/*/leases.json")
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=30)
        assert process.returncode == 130
        assert said.endswith("Interrupted\n")
        assert "Traceback" not in said
        assert [path.name for path in (node.directory / "leases").iterdir()] == [other.id]


@pytest.mark.parametrize("command", COMMANDS)
def test_help(node: Node, command: str) -> None:
    done = node.dos(command, "--help")
    assert done.code == 0
    assert f"\nexamples:\n  dos.py {command} sftp://" in done.out
    assert "--json" in done.out


def test_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    groups = {text.partition(":")[0]: text for text in capsys.readouterr().out.split("\n\n")}
    for command in COMMANDS:
        assert f"\n  {command} " in groups["Storage nodes"]
    for command in ("delete-export", "undelete-export", "pin-export", "verify-exports"):
        assert f"\n  {command} " in groups["Exports"]


@pytest.mark.parametrize("command", COMMANDS)
def test_arguments_are_missing(node: Node, command: str) -> None:
    done = node.dos(command)
    assert done.code == 2
    assert done.err.endswith("the following arguments are required: URL\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_url_that_makes_no_sense(node: Node, command: str) -> None:
    for url, reason in [
        ("ftp://somewhere/else", "unknown scheme 'ftp'"),
        ("sftp://storage:port/srv", "cannot be parsed"),
        ("s3://", "names no bucket"),
        ("", "is empty"),
        (f"file:///{'x' * 2000}", "has 2008 characters"),
    ]:
        done = node.dos(command, url)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert reason in done.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", timedelta(minutes=90)),
        ("48h", timedelta(hours=48)),
        (" 7d ", timedelta(days=7)),
        ("2W", timedelta(days=14)),
        ("0d", timedelta(0)),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert duration(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500G", 500 << 30),
        ("20T", 20 << 40),
        ("1.5t", 3 << 39),
        ("1KiB", 1024),
        ("12", 12),
        ("12B", 12),
        ("2PB", 2 << 50),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (timedelta(seconds=40), "40 s"),
        (timedelta(minutes=90), "90 min"),
        (timedelta(hours=48), "48 h"),
        (timedelta(days=7), "7 days"),
        (timedelta(days=2.5), "2.5 days"),
        (timedelta(days=45.4), "45 days"),
        (timedelta(days=3650), "10 years"),
    ],
)
def test_durations_for_people(time: timedelta, expected: str) -> None:
    assert human_duration(time) == expected
