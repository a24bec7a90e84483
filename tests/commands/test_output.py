"""Where output goes: pipes that are closed, full disks, terminals that lack characters."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import IO

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.console import DevopsCommand
from devops_snapshot.management.arguments import tell_clocks
from devops_snapshot.remote import connect
from devops_snapshot.shell import main
from devops_snapshot.store.lease import hold_lease

from .conftest import MANIFEST, Node

ESCAPE = "\x1b[2Jgone\x9b\nnext\u202eline"
"""A description with which a stranger clears the screen, if it is let through."""


def run(
    redirection: str, *command: str, stdout: int | IO[bytes] = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run ``dos.py`` by a shell, with its streams redirected, such as to ``>/dev/full``."""
    return subprocess.run(
        [
            "bash",
            "-c",
            f'exec "$0" -m devops_snapshot "$@" {redirection}',
            sys.executable,
            *command,
        ],
        env={**os.environ, **environment},
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=60,
    )


def on_terminal(*command: str, columns: int) -> str:
    """What a command writes to standard output, which is a terminal of some width."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "wb") as terminal:
        done = run("", *command, stdout=terminal, COLUMNS=str(columns))
    assert done.returncode == 0, done.stderr
    shown = b""
    with contextlib.suppress(OSError):  # its end, when the last one has closed it
        while data := os.read(leader, 65536):
            shown += data
    os.close(leader)
    return shown.decode().replace("\r\n", "\n")


@pytest.fixture
def full_list(node: Node) -> tuple[str, ...]:
    """A command that writes more than fits into a pipe's or a file's buffer."""
    for _ in range(3):
        node.export("one", description="x" * 50_000)
    return "list-exports", "--storage", node.url


def test_a_reader_that_has_seen_enough(full_list: tuple[str, ...]) -> None:
    """However much it is: what fits into a buffer is written when all else is done."""
    for command in (full_list, ("list", "--help")):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as broken:
            done = run("", *command, stdout=broken)
        assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
)
def test_nowhere_to_write(full_list: tuple[str, ...], redirection: str, reason: str) -> None:
    for command in (full_list, ("list", "--help")):
        done = run(redirection, *command)
        assert done.stderr.decode() == f"Error: Cannot write to standard output: {reason}\n"
        assert done.returncode == 1


def test_an_error_comes_after_the_result(node: Node) -> None:
    """In a journal, too, where both go to one place and no terminal asks for each line."""
    node.export("one")
    pack = max(node.directory.glob("packs/*/*"), key=lambda path: path.stat().st_size)
    os.truncate(pack, pack.stat().st_size - 1)
    done = run("2>&1", "verify-exports", "--storage", node.url, PYTHONUNBUFFERED="")
    assert done.returncode == 7
    first, *_, last = done.stdout.decode().splitlines()
    assert first.startswith("KIND ")
    assert last.startswith("Error: 1 damaged object")


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_nobody_to_complain_to(node: Node, redirection: str) -> None:
    """What is told besides the result is lost; the work is done."""
    export_id = node.export("one")
    done = run(redirection, "delete-export", export_id, "--json", "--storage", node.url)
    assert done.returncode == 0
    assert export_id.encode() in done.stdout
    assert node.ids() == []
    assert run(f"{redirection} >/dev/full", "version").returncode == 1


def test_a_pipe_of_its_own_that_breaks_is_an_error(tmp_path: Path) -> None:
    """Such as that to an SSH proxy: nobody must take it for the reader of the output."""
    done = run("", "shell", "-c", "raise BrokenPipeError('proxy')", HOME=str(tmp_path))
    assert b"BrokenPipeError: proxy" in done.stderr
    assert done.returncode == 1


def test_characters_that_the_terminal_lacks(node: Node) -> None:
    node.export("one", description="Ж…é")
    done = run("", "list-exports", "--storage", node.url, PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stderr) == (0, b"")
    header, _, row = done.stdout.decode("latin-1").splitlines()
    column = slice(header.index("DESCRIPTION"), header.index("HOST"))
    assert row[column].rstrip() == "\\u0416\\u2026é"


def test_all_that_is_written_takes_any_character(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["shell", "-c", "print('Ж \\udcff')"]) == 0
    output.seek(0)
    assert output.read().endswith("\\u0416 \\udcff\n")


def test_nobody_else_rules_the_terminal(node: Node) -> None:
    node.export("one", description=ESCAPE)
    for mode in ("", "--json"):
        done = node.dos("list-exports", *filter(None, [mode]))
        assert "\x1b" not in done.out
        assert "\x9b" not in done.out
        assert "\u202e" not in done.out
    table = node.dos("list-exports").out.splitlines()
    assert len(table) == 3
    assert "\\x1b[2Jgone\\x9b next\\u202eline" in table[2]
    done = node.dos("pin-export", "\x1b[2J")
    assert "\x1b" not in done.err


def test_nor_in_what_is_no_table(tmp_path: Path) -> None:
    """On a terminal; what goes to a file is left as it is."""

    def shown(stream: io.TextIOBase) -> None:
        DevopsCommand(stdout=stream).stdout.write("fact: \x1b[2J\tgone\n")

    file = io.StringIO()
    shown(file)
    assert file.getvalue() == "fact: \x1b[2J\tgone\n"
    leader, follower = pty.openpty()
    try:
        with os.fdopen(follower, "w") as terminal:
            shown(terminal)
            terminal.flush()
            assert os.read(leader, 100) == b"fact: \\x1b[2J\tgone\r\n"
    finally:
        os.close(leader)


def test_a_question_that_nobody_answers() -> None:
    code = (
        "from devops_snapshot.console import DevopsCommand; print(DevopsCommand().confirm('Sure?'))"
    )
    for redirection in ("</dev/null", "<&-"):
        done = run(redirection, "shell", "-c", code)
        assert done.returncode == 0
        assert done.stdout.endswith(b"Sure? [y/N] \nFalse\n")


def test_output_fits_the_terminal(node: Node) -> None:
    export_id = node.export("x" * 60, description="y" * 60, manifest=MANIFEST)
    where = ("--storage", node.url)
    listed = on_terminal("list-exports", *where, columns=80)
    shown = on_terminal("show-export", export_id, *where, columns=80)
    with connect(node.url) as remote, hold_lease(remote, {"purpose": "configure"}):
        status = on_terminal("storage-status", node.url, columns=80)
    assert status.splitlines()[0] == f"Storage node:  {node.url}"  # to be copied, however long
    rest = status.partition("\n")[2]
    assert max(map(len, (listed + shown + rest).splitlines())) <= 80
    words = " ".join(status.split())
    assert "exports are kept for 7 days, and none is removed automatically before it" in words
    assert re.search(r"\nconfigure  \S+ +\d+  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \d+ s ago\n", status)
    assert "\n" + " " * 15 + "before it is 48 h old\n" in status
    node.dos("delete-export", export_id)
    deleted = on_terminal("undelete-export", *where, columns=80)
    assert max(map(len, deleted.splitlines())) <= 80


def test_help_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its prose is wrapped, its examples are whole lines."""
    monkeypatch.setenv("COLUMNS", "60")
    for command in ("delete-export", "sync", "snapshot-list", "storage-configure"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        prose, _, examples = capsys.readouterr().out.partition("\nexamples:\n")
        assert max(map(len, prose.splitlines())) <= 60
        assert all(line.startswith(f"  dos.py {command}") for line in examples.splitlines())


def test_commands_to_be_typed_are_quoted_for_the_shell() -> None:
    """Names come from whoever wrote an export, and lines are copied into shells."""
    told: list[str] = []
    tell_clocks("x; rm -rf ~", {"node-1": timedelta(minutes=1)}, told.append)
    assert "'dos.py time-sync 'x; rm -rf ~''" in told[0]
    told.clear()
    tell_clocks("plain_name-1", {"node-1": timedelta(minutes=1)}, told.append)
    assert "'dos.py time-sync plain_name-1'" in told[0]
