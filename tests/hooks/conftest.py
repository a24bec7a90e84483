"""Pythons with the hook, each made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .place import Suites, Venv, make_venv, python27


@pytest.fixture(scope="session", params=[3, 2], ids=["python3", "python2.7"])
def venv(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """With proboscis and the hook."""
    python: Path | None = Path(sys.executable)
    if request.param == 2 and (python := python27()) is None:
        pytest.skip("there is no Python 2.7 here: $DEVOPS_PYTHON27 or python2.7")
    if request.param == 3 and sys.version_info >= (3, 12):
        pytest.skip("proboscis needs a Python before 3.12")
    assert python is not None, "or skipped"
    directory = tmp_path_factory.mktemp("fuel-qa") / "venv"
    venv = make_venv(directory, python, version=request.param)
    done = venv.install_hook()
    assert done.code == 0, done.err
    return venv


@pytest.fixture
def suites(tmp_path: Path) -> Suites:
    return Suites(tmp_path)
