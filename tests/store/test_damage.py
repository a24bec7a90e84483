"""Damage of any object is detected and named, and never becomes a wrong byte."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import connect
from devops_snapshot.store import LayerId, Repository

from .place import CHUNK, SEGMENT, export, make_file, noise, objects, opened, restore


class Stored:
    """A repository with one export of one file, to be damaged."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = tmp_path / "repository"
        self._work = tmp_path
        self._monkeypatch = monkeypatch
        text = b"some text that compresses " * 10_000
        data = {0: noise(9 * CHUNK), SEGMENT: text, 2 * SEGMENT: noise(5, seed=1)}
        self.file = make_file(tmp_path / "file", 3 * SEGMENT + 5, data)
        with opened(self.directory) as repository:
            self.export_id, (self.layer,), _ = export(repository, self.file, manifest=b"m" * 500)

    def object(self, kind: str) -> Path:
        (path,) = objects(self.directory, kind) if kind != "." else [self._repository_object]
        return path

    @property
    def _repository_object(self) -> Path:
        return self.directory / "repository.json"

    def read_all(self) -> bytes:
        """Read the export as a client would that has never seen this repository."""
        number = len(list(self._work.glob("cache-*")))
        (self._work / f"cache-{number}").mkdir()
        self._monkeypatch.setenv("XDG_CACHE_HOME", str(self._work / f"cache-{number}"))
        copy = self._work / "copy"
        with connect(f"file://{self.directory}") as remote:
            repository = Repository.open(remote)
            with repository.reading(self.export_id) as session:
                assert session.manifest == b"m" * 500
                content = restore(session, LayerId(self.layer), copy).read_bytes()
        copy.unlink()
        return content


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stored:
    stored = Stored(tmp_path, monkeypatch)
    assert stored.read_all() == stored.file.read_bytes()
    return stored


def expected_name(path: Path, directory: Path) -> str:
    relative = str(path.relative_to(directory))
    return str(directory) if relative == "repository.json" else relative


@pytest.mark.parametrize("kind", [".", "packs", "layers", "exports"])
def test_every_flipped_bit_is_detected_and_named(stored: Stored, kind: str) -> None:
    path = stored.object(kind)
    content = path.read_bytes()
    choose = random.Random(kind)
    ends = [0, 9, 12, 16, 20, 40, len(content) - 1, len(content) - 33, len(content) - 60]
    for position in [*ends, *(choose.randrange(len(content)) for _ in range(25))]:
        position = min(position, len(content) - 1)
        flipped = bytearray(content)
        flipped[position] ^= 1 << choose.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(FormatError) as caught:
            stored.read_all()
        assert expected_name(path, stored.directory) in str(caught.value), position
        assert "\n" not in str(caught.value)
    path.write_bytes(content)
    assert stored.read_all() == stored.file.read_bytes()


@pytest.mark.parametrize("kind", [".", "packs", "layers", "exports"])
def test_every_truncation_is_detected_and_named(stored: Stored, kind: str) -> None:
    path = stored.object(kind)
    content = path.read_bytes()
    choose = random.Random(kind)
    for length in [0, 1, len(content) - 1, *(choose.randrange(len(content)) for _ in range(6))]:
        path.write_bytes(content[:length])
        with pytest.raises(FormatError) as caught:
            stored.read_all()
        assert expected_name(path, stored.directory) in str(caught.value), length


@pytest.mark.parametrize("kind", [".", "packs", "layers", "exports"])
def test_bytes_too_many_are_detected(stored: Stored, kind: str) -> None:
    path = stored.object(kind)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(FormatError, match=expected_name(path, stored.directory)):
        stored.read_all()


@pytest.mark.parametrize("kind", ["packs", "layers"])
def test_a_missing_object_is_named(stored: Stored, kind: str) -> None:
    path = stored.object(kind)
    path.unlink()
    with pytest.raises(FormatError, match=path.name.partition(".")[0]):
        stored.read_all()


def test_a_missing_export_is_not_found(stored: Stored) -> None:
    stored.object("exports").unlink()
    with pytest.raises(NotFoundError, match=stored.export_id):
        stored.read_all()


def test_an_object_in_the_place_of_another_is_detected(stored: Stored, tmp_path: Path) -> None:
    with opened(stored.directory) as repository:
        other = make_file(tmp_path / "other", CHUNK, {0: noise(CHUNK, seed=9)})
        other_id, (other_layer,), _ = export(repository, other)
    for kind, other_name in (("layers", other_layer), ("exports", other_id), ("packs", "")):
        paths = objects(stored.directory, kind)
        assert len(paths) == 2
        contents = [path.read_bytes() for path in paths]
        assert kind == "packs" or any(other_name in path.name for path in paths)
        for path, content in zip(paths, reversed(contents), strict=True):
            path.write_bytes(content)
        with pytest.raises(FormatError):
            stored.read_all()
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
    assert stored.read_all() == stored.file.read_bytes()


def test_a_failed_restore_leaves_no_file(stored: Stored, tmp_path: Path) -> None:
    pack = stored.object("packs")
    pack.write_bytes(b"x" * 1000 + pack.read_bytes()[1000:])
    with pytest.raises(FormatError):
        stored.read_all()
    assert not (tmp_path / "copy").exists()
