"""``dos.py install-hook``: into a virtual environment, and out of it again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from devops_snapshot.hooks import fuel_qa
from devops_snapshot.shell import main

from .place import Venv, make_venv

HOOK = "devops_snapshot_hook"


@pytest.fixture
def bare(venv: Venv, tmp_path: Path) -> Venv:
    """Without the hook; its path has letters that are no ASCII."""
    return make_venv(tmp_path / "né", venv.python, version=venv.version)


def starts(venv: Venv) -> str:
    """What its Python says when it has nothing to do."""
    done = subprocess.run([str(venv.python), "-c", ""], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def sources(directory: Path) -> list[str]:
    """Names of what is there, but for what Python has compiled."""
    names = (path.name for path in directory.iterdir())
    return sorted(name for name in names if not name.endswith(("__pycache__", ".pyc")))


def test_there_and_back(bare: Venv) -> None:
    [packages] = bare.directory.glob("lib/python*/site-packages")
    before = sources(packages)
    missing = bare.install_hook("--check")
    assert (missing.code, missing.out) == (3, "")
    assert f"Error: the hook is not active in {bare.directory}" in missing.err

    installed = bare.install_hook()
    dos = Path(sys.executable).with_name("dos.py")
    assert installed.code == 0, installed.err
    assert installed.out.startswith(f"Active in {bare.directory} (Python {bare.version}.")
    assert installed.out.endswith(f": calls {dos}\n")
    assert "WARNING: DEVOPS_STORAGE is not set here" in installed.err
    assert bare.install_hook("--check").out == installed.out
    assert (packages / f"{HOOK}.py").read_bytes() == Path(fuel_qa.__file__).read_bytes()
    assert starts(bare) == ""

    removed = bare.install_hook("--remove")
    assert (removed.code, removed.out) == (0, f"Removed from {bare.directory}\n")
    assert sources(packages) == before
    assert starts(bare) == ""
    assert bare.install_hook("--remove").out == f"There was none in {bare.directory}\n"


def test_what_has_to_be_renewed_is_told(bare: Venv) -> None:
    [packages] = bare.directory.glob("lib/python*/site-packages")
    bare.install_hook()
    with (packages / f"{HOOK}.py").open("a") as hook:
        hook.write("# of another version\n")
    other = bare.install_hook("--check")
    assert other.code == 4
    assert "is another version's. To renew it: dos.py install-hook --venv" in other.err
    assert bare.install_hook().code == 0

    (packages / f"{HOOK}.pth").write_text(f"import {HOOK}; {HOOK}.install(u'/gone/d\\xf6s.py')\n")
    gone = bare.install_hook("--check")
    assert gone.code == 4
    assert "calls /gone/dös.py, which is not there" in gone.err


def test_a_python_that_says_something_when_it_starts_and_ends(bare: Venv) -> None:
    [packages] = bare.directory.glob("lib/python*/site-packages")
    noise = (
        "import atexit, sys; sys.stdout.write('{}\\n'); atexit.register(sys.stdout.write, '[]')\n"
    )
    (packages / "noise.pth").write_text(noise)
    assert bare.install_hook().out.startswith("Active in ")


@pytest.mark.parametrize(
    ("python", "code"), [(None, 3), ("#!/bin/sh\nexit 3\n", 1), ("#!/bin/sh\necho '{}'\n", 3)]
)
def test_what_is_no_virtual_environment(python: str | None, code: int, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    if python:
        (tmp_path / "bin/python").write_text(python)
        (tmp_path / "bin/python").chmod(0o755)
    done = Venv(tmp_path, 3).install_hook()
    assert done.code == code
    assert done.err.startswith("Error: ")
    assert len(done.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "bin"]


@pytest.mark.parametrize(("venv", "code"), [("", 2), ("~nobody-of-that-name", 3)])
def test_a_name_of_nothing(venv: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty variable in a script does not mean this directory."""
    assert main(["install-hook", "--venv", venv]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ")
