"""Environments that are off: what their exports hold does not depend on guests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bed import Bed
from tests.journey.scenario import Place


@pytest.fixture
def alpha(bed: Bed) -> Iterator[Place]:
    yield Place(bed.host("alpha"))
    bed.clean()


@pytest.fixture
def beta(bed: Bed) -> Place:
    return Place(bed.host("beta"))


@pytest.fixture
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Seen at the same path by both hosts."""
    return f"file://{tmp_path_factory.mktemp('storage')}/repository"
