"""One export of a running environment, and a second host that nothing may be left on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from tests.bed import Bed
from tests.journey.scenario import Place


@pytest.fixture(scope="module")
def exported(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The storage that has it, seen at the same path by both hosts and from outside."""
    alpha = Place(bed.host("alpha"))
    alpha.create()
    storage = f"file://{tmp_path_factory.mktemp('storage')}/repository"
    assert alpha.export(storage=storage)["snapshots"]
    alpha.dos("erase", "trip")
    yield storage
    bed.clean()


@pytest.fixture
def beta(bed: Bed) -> Iterator[Place]:
    place = Place(bed.host("beta"))
    yield place
    place.host.clean()
