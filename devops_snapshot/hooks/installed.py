"""The hook in a virtual environment that is not ours: put there, taken out, asked whether it works.

Beside the file lies a ``.pth``: its one line is run by each Python of that environment when it
starts.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DevopsError, NotFoundError

SOURCE = Path(__file__).with_name("fuel_qa.py")
MODULE = "devops_snapshot_hook"

_TIMEOUT = 60.0  # seconds for a Python to start
_WHICH = "Give the directory that was named to virtualenv or venv"
_ANSWER = "devops_snapshot: "
_ASK = f"""
import json, sys
if sys.version_info[0] > 2:
    from sysconfig import get_path
    packages = get_path("purelib")
else:
    from distutils.sysconfig import get_python_lib
    packages = get_python_lib()
hook = sys.modules.get({MODULE!r})
print({_ANSWER!r} + json.dumps({{
    "packages": packages,
    "version": ".".join(map(str, sys.version_info[:3])),
    "dos": hook and hook.installed_dos(),
}}))
"""


@dataclass(frozen=True)
class Installation:
    """:param packages: directory of the packages
    :param version: of that Python
    :param dos: what the hook calls when such a Python has just started; None: it is not active
    """

    packages: Path
    version: str
    dos: Path | None

    @property
    def module(self) -> Path:
        return self.packages / f"{MODULE}.py"

    @property
    def trigger(self) -> Path:
        return self.packages / f"{MODULE}.pth"

    @property
    def is_current(self) -> bool:
        """Whether the file is this version's."""
        return self.module.is_file() and self.module.read_bytes() == SOURCE.read_bytes()


def look(venv: Path) -> Installation:
    """What is in a virtual environment.

    :raises NotFoundError: it is none
    :raises DevopsError: its Python does not run
    """
    python = venv / "bin/python"
    if not python.exists():
        raise NotFoundError(
            f"{venv} is no virtual environment: {python} is not there",
            hint=_WHICH,
        )
    told = _told_by(python)
    return Installation(
        packages=Path(told["packages"]),
        version=told["version"],
        dos=Path(told["dos"]) if told["dos"] else None,
    )


def put(venv: Path, dos: Path) -> Installation:
    """Put this version's hook there, in place of another.

    :param dos: absolute path of the dos.py that it calls
    :raises DevopsError: that does not work
    """
    place = look(venv)
    with _writing_to(place.packages):
        _write(place.module, SOURCE.read_text())
        _write(place.trigger, f"import {MODULE}; {MODULE}.install(u{str(dos)!a})\n")
    return look(venv)


def take_out(venv: Path) -> bool:
    """Remove it; returns whether there was one.

    :raises DevopsError: that does not work
    """
    place = look(venv)
    compiled = [place.packages / f"{MODULE}.pyc", place.packages / f"{MODULE}.pyo"]
    compiled += place.packages.glob(f"__pycache__/{MODULE}.*")
    found = False
    with _writing_to(place.packages):
        for path in (place.trigger, place.module, *compiled):  # the one that needs the other first
            found |= path.exists()
            path.unlink(missing_ok=True)
    return found


def _told_by(python: Path) -> dict[str, Any]:
    """What such a Python says of itself, without the variables that are ours."""
    variables = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
    try:
        done = subprocess.run(
            [str(python), "-c", _ASK],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DevopsError(f"{python} cannot be run: {error}") from error
    if done.returncode != 0:
        raise DevopsError(f"{python} fails: {done.stderr.strip().rpartition(chr(10))[2]}")
    for line in done.stdout.splitlines():  # what is imported at its start may say something, too
        if line.startswith(_ANSWER):
            told: dict[str, Any] = json.loads(line.removeprefix(_ANSWER))
            return told
    raise NotFoundError(f"{python} does not behave as a Python does", hint=_WHICH)


@contextmanager
def _writing_to(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DevopsError(
            f"cannot write to {directory}: {error.strerror}",
            hint="Run it as the user to whom the virtual environment belongs",
        ) from error


def _write(path: Path, text: str) -> None:
    """All of it or nothing: a suite may be starting right now."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text)
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def own_dos() -> Path:
    """The dos.py to be called by others: the one that runs.

    :raises NotFoundError: it is run in another way, and none is installed
    """
    for candidate in (shutil.which(sys.argv[0]), Path(sys.executable).with_name("dos.py")):
        if candidate and Path(candidate).name == "dos.py" and os.access(candidate, os.X_OK):
            return Path(candidate).absolute()
    raise NotFoundError("no dos.py is installed that the hook could call", hint="pip install .")
