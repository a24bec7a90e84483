"""One export of a running environment, and a second host that nothing may be left on."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from tests.bed import Bed
from tests.journey.scenario import NAME, Place


@pytest.fixture(scope="session")
def repository(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the export: of whichever of the processes that run tests comes first."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    repository = directory / "exported"
    with (directory / "exported.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not repository.exists():
            _export(Place(bed.host("alpha")), directory / "unfinished").rename(repository)
            bed.clean()
    return repository


def _export(alpha: Place, repository: Path) -> Path:
    alpha.create()
    assert alpha.export(storage=f"file://{repository}")["snapshots"]
    alpha.dos("erase", NAME)
    return repository


@pytest.fixture(scope="module")
def exported(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A storage that has it, seen at the same path by both hosts and from outside."""
    storage = tmp_path_factory.mktemp("storage") / "repository"
    shutil.copytree(repository, storage)
    return f"file://{storage}"


@pytest.fixture
def beta(bed: Bed) -> Iterator[Place]:
    place = Place(bed.host("beta"))
    yield place
    place.host.clean()
