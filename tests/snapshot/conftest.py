"""The lab: made once for all tests here, and as new for each of them; and one without guests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bed import Bed
from tests.devops.databases import sqlite_environment, used_database
from tests.devops.libvirt.builder import MIB, Builder

from .lab import Lab, define


@pytest.fixture(scope="package")
def built_lab(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    host = bed.host("alpha")
    yield Lab(host, tmp_path_factory.mktemp("lab") / "devops.sqlite3")
    host.clean()


@pytest.fixture
def lab(built_lab: Lab) -> Iterator[Lab]:
    """Two running guests and one node that is off, at snapshot ``base``."""
    with built_lab.used():
        yield built_lab


@pytest.fixture
def shelf(bed: Bed, tmp_path: Path) -> Iterator[Builder]:
    """An environment of two nodes that are off: ``a`` with a qcow2 disk, ``b`` with a raw one."""
    host = bed.host("beta")
    with used_database(sqlite_environment(tmp_path / "devops.sqlite3")):
        builder = Builder(host)
        builder.node("a", volumes=[{"name": "system", "capacity": MIB}])
        builder.node("b", volumes=[{"name": "system", "capacity": MIB, "format": "raw"}])
        define(builder)
        yield builder
    host.clean()
