"""``dos.py`` itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from devops_snapshot import __version__
from devops_snapshot.shell import main

CHECKOUT = Path(__file__).parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "devops_snapshot", *arguments]


def environ(home: Path, **more: str) -> Mapping[str, str]:
    """What a user has set who has set nothing."""
    kept = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(CHECKOUT), **more}


def dos(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), env=environ(home, **more), capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["help"]])
def test_without_a_command_it_lists_all(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "usage: dos.py COMMAND [ARGUMENT ...]"
    assert lines.index("Environments:") < lines.index("Django:")
    assert "  create-env         Create a new environment from a template file" in lines
    assert max(map(len, lines)) <= 100
    assert any("migrate," in line for line in lines)


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["create-env", "--help"], ["help", "create-env"], ["create_env", "-h"]):
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        assert exit.value.code == 0
        text = capsys.readouterr().out
        assert text.startswith("usage: dos.py create-env [-h] TEMPLATE\n")
        assert "\nexamples:\n  ENV_NAME=my_env" in text
        for option in ("--settings", "--pythonpath", "--traceback", "--no-color", "--verbosity"):
            assert option not in text


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["creat-env"]) == 2
    assert capsys.readouterr().err == (
        "Error: Unknown command 'creat-env'. Did you mean create-env?\n"
    )
    assert main(["xyzzy"]) == 2
    assert "`dos.py --help` lists all commands" in capsys.readouterr().err


def test_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["show"])
    assert exit.value.code == 2
    assert "dos.py show: error: the following arguments are required: ENV_NAME" in (
        capsys.readouterr().err
    )


def test_errors_are_one_line_with_an_exit_code(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "nowhere"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"Error: Unknown environment 'nowhere' in the SQLite database {database}\n"
    )


def test_first_use_makes_an_sqlite_database_without_a_word(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            command("list"), env=environ(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(3)  # at the same moment, too
    ]
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert (process.returncode, output) == (0, b"")
    assert (tmp_path / ".devops/devops.sqlite3").exists()


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / ".devops").write_text("a file")
    done = dos(tmp_path, "list")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (f"Error: Cannot make {tmp_path}/.devops for the database: File exists\n")


def test_migrate_makes_the_directory(tmp_path: Path) -> None:
    done = dos(tmp_path, "migrate")
    assert done.returncode == 0, done.stderr
    assert "Applying devops.0001_initial" in done.stdout


def test_settings_of_fuel_devops_are_none_of_ours(tmp_path: Path) -> None:
    done = dos(tmp_path, "list", DJANGO_SETTINGS_MODULE="devops.settings")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["list", "migrate"])
def test_postgresql_that_is_not_there(tmp_path: Path, name: str) -> None:
    done = dos(tmp_path, name, DEVOPS_DB_PORT="1")
    assert (done.returncode, done.stdout.count("\n") == 0) == (1, True)
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert "Connection refused" in done.stderr


def test_an_engine_that_does_not_exist(tmp_path: Path) -> None:
    done = dos(tmp_path, "list", DEVOPS_DB_ENGINE="nosuch")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: 'nosuch' isn't an available database backend")
    assert done.stderr.count("\n") == 1


def test_old_engine_names(tmp_path: Path) -> None:
    old = "django.db.backends.postgresql_psycopg2"
    done = dos(tmp_path, "list", DEVOPS_DB_ENGINE=old, DEVOPS_DB_HOST="192.0.2.1.x")
    assert "Cannot open the PostgreSQL database fuel_devops at 192.0.2.1.x:5432" in done.stderr


def test_a_reader_that_went_away(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command("help"),
            env=environ(tmp_path),
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_being_asked_to_end(tmp_path: Path, number: signal.Signals, code: int) -> None:
    fifo = tmp_path / "template.yaml"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        command("create-env", str(fifo)),
        env=environ(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with fifo.open("w"):  # opens when the command reads, which then waits for the rest
        time.sleep(0.2)
        process.send_signal(number)
        _, complaint = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in complaint


def test_nohup(tmp_path: Path) -> None:
    fifo = tmp_path / "template.yaml"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        ["nohup", *command("create-env", str(fifo))],
        env=environ(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with fifo.open("w"):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 1
    assert complaint == f"Error: {fifo} is no template: it has no `env_name`, `groups` ...\n"


def test_ctrl_c_inside_a_finalizer_is_not_lost(tmp_path: Path) -> None:
    """Python prints what is raised there and goes on as if nothing had been typed."""
    code = (
        "import os, signal, time\n"
        "class Finalized:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGINT); time.sleep(0.1)\n"
        "Finalized()\n"
        "time.sleep(30)\n"
    )
    done = dos(tmp_path, "shell", "-c", code)
    assert done.stderr == "Interrupted\n"
    assert done.returncode in (130, -signal.SIGINT)  # exec() of a string makes Python end by it
