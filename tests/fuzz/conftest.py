"""A repository to be spoilt."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.store import LayerKind
from tests.store.place import CHUNK, export, make_file, noise, opened
from tests.store.saved_memory import PAGE, RAM, pages, saved
from tests.store.test_format import filled


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a repository that has an object of each kind."""
    place = tmp_path_factory.mktemp("template")
    root, copy = place / "repository", place / "copy"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        with opened(root) as repository:
            content = {number: noise(PAGE, number) for number in range(0, RAM // PAGE, 3)}
            memory = place / "memory"
            memory.write_bytes(saved({"pc.ram": RAM}, [pages(content)]))
            sparse = make_file(place / "sparse", 40 * CHUNK + 7, {9 * CHUNK: noise(CHUNK, 7)})
            export(repository, memory, kind=LayerKind.MEMORY)
            export(repository, sparse)
        with filled(root, place):
            shutil.copytree(root, copy)
    return copy
