"""Where suites run with the hook: a Python with proboscis, and a dos.py that tells of its calls."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devops_snapshot.shell import main

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
STORAGE = "sftp://devops@storage/repository"


@dataclass(frozen=True)
class Venv:
    """A virtual environment that the hook is in.

    :param version: of its Python: 2 or 3
    """

    directory: Path
    version: int

    @property
    def python(self) -> Path:
        return self.directory / "bin/python"

    def install_hook(self, *options: str) -> Said:
        """``dos.py install-hook``, in this process."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(["install-hook", "--venv", str(self.directory), *options])
            except SystemExit as exit:
                code = int(exit.code or 0)
            out.flush()
            err.flush()
        return Said(code, *(stream.buffer.getvalue().decode() for stream in (out, err)))


@dataclass(frozen=True)
class Said:
    """:param code: exit code"""

    code: int
    out: str
    err: str


def python27() -> Path | None:
    """A Python 2.7 that runs: ``$DEVOPS_PYTHON27``, on the PATH, or one of pyenv's."""
    candidates = [os.environ.get("DEVOPS_PYTHON27"), shutil.which("python2.7")]
    candidates += map(str, Path("~/.pyenv/versions").expanduser().glob("2.7*/bin/python2.7"))
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return Path(candidate)
    return None


def make_venv(directory: Path, python: Path, *, version: int) -> Venv:
    """With the proboscis of this Python, which is the same for both."""
    command = [sys.executable, "-m", "virtualenv", "-q", "--no-download", "-p", str(python)]
    without = ["--without-pip", "--no-setuptools", "--no-wheel"]
    subprocess.run([*command, *without, str(directory)], check=True, capture_output=True)
    found = importlib.util.find_spec("proboscis")
    assert found is not None, "it is in requirements-dev.txt"
    assert found.origin is not None, "it is a package"
    [packages] = directory.glob("lib/python*/site-packages")
    shutil.copytree(
        Path(found.origin).parent,
        packages / "proboscis",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return Venv(directory, version)


@dataclass(frozen=True)
class Run:
    """How a suite has ended.

    :param calls: of dos.py
    :param snapshots: that fuel-qa has made
    """

    code: int
    out: str
    err: str
    calls: Sequence[dict[str, Any]]
    snapshots: Sequence[str]

    @property
    def result(self) -> str:
        """What proboscis says of all its tests."""
        return self.out.splitlines()[-1]

    @property
    def told(self) -> list[str]:
        """The hook's lines."""
        start = "devops_snapshot: "
        return [x.removeprefix(start) for x in self.err.splitlines() if x.startswith(start)]


@dataclass(frozen=True)
class Suites:
    """Runs suites.

    :param directory: of what they write
    """

    directory: Path

    @property
    def dos(self) -> Path:
        """The stand-in for dos.py, as a program."""
        program = self.directory / "dos.py"
        program.write_text(f"#!{sys.executable}\n" + (HERE / "dos_stand_in.py").read_text())
        program.chmod(0o755)
        return program

    def run(self, python: Path, *arguments: str, **variables: str) -> Run:
        """``python ARGUMENTS`` with fuel-qa's stand-ins to be imported."""
        calls, snapshots = self.directory / "calls", self.directory / "snapshots"
        for left in (calls, snapshots):
            left.unlink(missing_ok=True)
        bin_directory = python.parent
        environ = {
            "PATH": f"{bin_directory}:{os.environ['PATH']}",
            "VIRTUAL_ENV": str(bin_directory.parent),
            "HOME": str(self.directory),
            "PYTHONPATH": f"{HERE / 'stand_in'}:{CHECKOUT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONIOENCODING": "utf-8",
            "DJANGO_SETTINGS_MODULE": "devops.settings",
            "LANG": "C.UTF-8",
            "ENV_NAME": "ceph_ha",
            "DEVOPS_STORAGE": STORAGE,
            "DEVOPS_EXPORT_DOS": str(self.dos),
            "DOS_CALLS": str(calls),
            "SNAPSHOTS": str(snapshots),
        }
        done = subprocess.run(
            [str(python), *arguments],
            env={name: value for name, value in (environ | variables).items() if value},
            cwd=self.directory,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
        )
        return Run(
            done.returncode,
            done.stdout,
            done.stderr,
            [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else [],
            snapshots.read_text().split() if snapshots.exists() else [],
        )

    def proboscis(self, venv: Venv, **variables: str) -> Run:
        return self.run(venv.python, str(HERE / "proboscis_suite.py"), **variables)
