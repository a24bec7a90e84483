"""The lab: made once for all tests here, and as new for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed import Bed  # isort: skip
from tests.devops.databases import sqlite_environment, used_database

from .lab import Lab


@pytest.fixture(scope="package")
def built_lab(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Its database is at ``lab.database``; it is used only inside a test."""
    path = tmp_path_factory.mktemp("lab") / "devops.sqlite3"
    lab = Lab(bed.host("alpha"), path)
    with used_database(sqlite_environment(path)):
        lab.build()
    yield lab
    bed.clean()


@pytest.fixture
def lab(built_lab: Lab) -> Iterator[Lab]:
    """Two running guests and one that is off, at snapshot ``base``."""
    with used_database(built_lab.variables):
        yield built_lab
        built_lab.reset()
        built_lab.check()
