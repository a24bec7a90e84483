"""Whatever lies on the storage node, well sealed: clients say what is wrong, or go on.

Whoever can write there can seal, so a checksum stops nobody: heads are changed and sealed again.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from hypothesis import given
from hypothesis import strategies as st

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.remote.local import LocalRemote
from devops_snapshot.store import (
    FileSink,
    Repository,
    collect,
    pin_export,
    plan_prune,
    prune,
    undelete_export,
    verify,
)
from tests.store.place import CHUNK, export, make_file, noise

from . import hostile
from .effort import examples, only_clear_errors
from .forgery import head_and_body, resealed

SHARED = "/dev/shm" if Path("/dev/shm").is_dir() else None  # fsync costs nothing there
OURS = {"cache", "repository"}
MOST_BYTES = 64 << 20  # of a file in this repository


def no_sleep(seconds: float) -> None:
    """Nobody else is at work here."""


@contextmanager
def copied(template: Path) -> Iterator[Path]:
    """A repository to be spoilt, and a cache that knows nothing of it."""
    with tempfile.TemporaryDirectory(dir=SHARED) as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", f"{name}/cache")
        shutil.copytree(template, Path(name, "repository"))
        yield Path(name, "repository")


@st.composite
def rewritten(draw: st.DrawFn, data: bytes) -> bytes:
    """An object with something else in it, and right checksums where it has any."""
    parts = head_and_body(data)
    if parts is None or draw(st.integers(0, 9)) == 0:
        return draw(hostile.spoilt(data))
    head, body = parts
    if body and draw(st.booleans()):
        return resealed(head, draw(hostile.spoilt(body)))
    return resealed(draw(hostile.changed(head)), body)


def listing(repository: Repository, place: Path) -> None:
    for options in ([], ["--json"], ["--deleted"]):
        told("list-exports", "--storage", repository.remote.url, *options)


def looking(repository: Repository, place: Path) -> None:
    for options in ([], ["--json"]):
        with only_clear_errors():
            told("storage-status", repository.remote.url, *options)
    with only_clear_errors():
        told("prune-exports", "--storage", repository.remote.url, "--dry-run", "--force")


def told(command: str, *arguments: str) -> None:
    """Run a command that only tells something."""
    call_command(command.replace("-", "_"), *arguments, stdout=StringIO(), stderr=StringIO())


def importing(repository: Repository, place: Path) -> None:
    for export_id in sorted(path.stem for path in (place / "repository/exports").iterdir()):
        with only_clear_errors(), repository.reading(export_id, scratch=place) as session:
            for number, layer in enumerate(sorted(session._layers)):
                with only_clear_errors():
                    reader = session.layer(layer)
                    if reader.size > MOST_BYTES:  # an import looks for the room first
                        continue
                    reader.pread(reader.size // 2, 9 * CHUNK)
                    target = place / f"{export_id}-{number}"
                    with FileSink.create(target) as sink:
                        session.restore(layer, sink)
                    assert target.stat().st_size == reader.size


def exporting(repository: Repository, place: Path) -> None:
    export(repository, make_file(place / "new", 3 * CHUNK, {CHUNK: noise(CHUNK, 1)}))


def verifying(repository: Repository, place: Path) -> None:
    verify(repository, read_data=True)


def collecting(repository: Repository, place: Path) -> None:
    collect(repository, sleep=no_sleep)


def pruning(repository: Repository, place: Path) -> None:
    prune(repository, plan_prune(repository, max_size=0, force=True), sleep=no_sleep)


def changing(repository: Repository, place: Path) -> None:
    for export_id in sorted(path.stem for path in (place / "repository/exports").iterdir()):
        pin_export(repository, export_id, by="me")
    for export_id in sorted(path.stem for path in (place / "repository/deleted").iterdir()):
        undelete_export(repository, export_id, sleep=no_sleep)


Work = Callable[[Repository, Path], None]
WORK: tuple[Work, ...] = (
    listing,
    looking,
    importing,
    exporting,
    verifying,
    collecting,
    pruning,
    changing,
)


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
@examples(25)
@given(data=st.data())
def test_whatever_lies_there(template: Path, work: Work, data: st.DataObject) -> None:
    with copied(template) as root:
        by_kind: dict[str, list[Path]] = {}
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            by_kind.setdefault(path.relative_to(root).parts[0], []).append(path)
        for _ in range(data.draw(st.integers(1, 2))):
            kind = data.draw(st.sampled_from(sorted(by_kind)))
            path = data.draw(st.sampled_from(by_kind[kind]))
            path.write_bytes(data.draw(rewritten(path.read_bytes())))
        with only_clear_errors():
            work(Repository.open(LocalRemote(root)), root.parent)
        assert {path.name for path in root.parent.iterdir() if path.is_dir()} <= OURS
