"""Files that have not changed since they were exported are recognised without being read."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import pytest

from devops_snapshot.remote import connect
from devops_snapshot.store import FileSource, LayerId, LayerKind, Repository, Stats
from devops_snapshot.store.writing import file_state

from .place import CHUNK, make_file, noise, objects, restore

SIZE = 40 * CHUNK
LONG_AGO = 1_700_000_000


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A sparse file that was written, and settled, some time ago."""
    path = make_file(tmp_path / "image", 2 * SIZE, {0: noise(SIZE)})
    settle(path)
    return path


@pytest.fixture(autouse=True)
def fine_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems of Linux tell times much finer than what is provided for."""
    monkeypatch.setattr(file_state, "SETTLED_SECONDS", 0.1)


def settle(path: Path) -> None:
    """Set the times back, and wait until the kernel's own is old enough."""
    os.utime(path, (LONG_AGO, LONG_AGO))
    time.sleep(0.11)


def export(
    repository: Repository, path: Path, *, sealed: bool = True, kind: LayerKind = LayerKind.OVERLAY
) -> tuple[str, LayerId, Stats]:
    with repository.writing() as session:
        with FileSource.open(path) as source:
            layer = session.add_layer(source, kind=kind, sealed=sealed)
        session.publish(b"{}", {})
        return session.export_id, layer, session.stats


def test_an_unchanged_file_is_not_read(repository: Repository, image: Path, tmp_path: Path) -> None:
    _, layer, first = export(repository, image)
    assert (first.bytes_read, first.bytes_unread, first.layers_unread) == (SIZE, 0, 0)
    export_id, again, second = export(repository, image)
    assert again == layer
    assert (second.bytes_read, second.bytes_unread, second.layers_unread) == (0, SIZE, 1)
    with repository.reading(export_id) as session:
        assert restore(session, layer, tmp_path / "copy").read_bytes() == image.read_bytes()


def test_other_clients_of_this_machine_know_it_too(
    repository: Repository, image: Path, url: str
) -> None:
    export(repository, image)
    with connect(url) as remote:
        assert export(Repository.open(remote), image)[2].bytes_read == 0


def test_a_file_that_is_written_to_is_read(repository: Repository, image: Path) -> None:
    export(repository, image)
    assert export(repository, image, sealed=False)[2].bytes_read == SIZE


def test_a_young_file_is_read(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_state, "SETTLED_SECONDS", 60)
    path = make_file(tmp_path / "young", SIZE, {0: noise(SIZE)})
    for _ in range(2):  # what was young when it was read is not remembered
        assert export(repository, path)[2].bytes_read == SIZE


def test_other_content_with_the_same_size_and_time(repository: Repository, image: Path) -> None:
    _, layer, _ = export(repository, image)
    other = make_file(image.with_name("other"), 2 * SIZE, {0: noise(SIZE, seed=1)})
    settle(other)
    other.replace(image)
    _, changed, stats = export(repository, image)
    assert changed != layer
    assert stats.bytes_read == SIZE


def test_a_change_in_place_with_the_time_set_back(repository: Repository, image: Path) -> None:
    _, layer, _ = export(repository, image)
    with image.open("r+b") as file:
        file.write(noise(SIZE, seed=1))
    settle(image)
    _, changed, stats = export(repository, image)
    assert changed != layer
    assert stats.bytes_read == SIZE


@pytest.mark.parametrize("stored", [0, 10])
def test_data_in_former_holes_with_the_time_set_back(
    repository: Repository, tmp_path: Path, stored: int
) -> None:
    """What the layer has is still there: only the holes have changed."""
    path = make_file(tmp_path / "holes", 2 * SIZE, {0: noise(stored * CHUNK)})
    settle(path)
    _, layer, _ = export(repository, path)
    with path.open("r+b") as file:
        file.seek(SIZE + 5)
        file.write(b"one byte")
    settle(path)
    assert export(repository, path)[1] != layer


def test_holes_that_were_all_filled_with_the_time_set_back(
    repository: Repository, image: Path
) -> None:
    """The file is sparse no more, and where it was it must read as zeros."""
    _, layer, _ = export(repository, image)
    with image.open("r+b") as file:
        file.seek(SIZE)
        file.write(noise(SIZE, seed=1))
    settle(image)
    assert export(repository, image)[1] != layer


def test_written_zeros_are_recognised(repository: Repository, tmp_path: Path) -> None:
    path = tmp_path / "dense"
    path.write_bytes(noise(10 * CHUNK) + bytes(10 * CHUNK))
    settle(path)
    export(repository, path)
    path.chmod(0o640)
    assert export(repository, path)[2].bytes_read == 0


def test_a_page_that_is_dirty_already(repository: Repository, tmp_path: Path) -> None:
    """Writing to it again through a mapping would change no time, had it not been written back."""
    image = tmp_path / "dense"
    image.write_bytes(noise(10 * CHUNK))
    with image.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[:4] = b"once"
        time.sleep(0.11)
        _, layer, _ = export(repository, image)
        mapping[:5] = b"twice"
        time.sleep(0.11)
        assert export(repository, image)[1] != layer


def test_a_change_is_told_by_its_time(repository: Repository, image: Path) -> None:
    _, layer, _ = export(repository, image)
    with image.open("r+b") as file:
        file.write(b"one byte")
    assert export(repository, image)[1] != layer


def test_a_relabelled_file_is_not_read(repository: Repository, image: Path) -> None:
    """libvirt changes owners and labels whenever a guest starts or stops."""
    export(repository, image)
    for mode in (0o640, 0o600):
        image.chmod(mode)
        assert export(repository, image)[2].bytes_read == 0


@pytest.mark.parametrize("lost", ["packs", "layers"])
def test_what_is_missing_is_read_again(
    repository: Repository, image: Path, directory: Path, tmp_path: Path, lost: str
) -> None:
    _, layer, _ = export(repository, image)
    for path in objects(directory, lost):
        path.unlink()
    export_id, again, stats = export(repository, image)
    assert (again, stats.bytes_read) == (layer, SIZE)
    with repository.reading(export_id) as session:
        assert restore(session, layer, tmp_path / "copy").read_bytes() == image.read_bytes()


def test_what_is_damaged_is_read_again(
    repository: Repository, image: Path, directory: Path
) -> None:
    export(repository, image)
    (layer,) = objects(directory, "layers")
    layer.write_bytes(layer.read_bytes()[:-1])
    assert export(repository, image)[2].bytes_read == SIZE


def test_a_forgotten_file_is_read(repository: Repository, image: Path, cache: Path) -> None:
    export(repository, image)
    for path in cache.rglob(".notes*"):
        path.unlink()
    assert export(repository, image)[2].bytes_read == SIZE


def test_an_export_that_was_not_published_is_not_remembered(
    repository: Repository, image: Path
) -> None:
    with repository.writing() as session, FileSource.open(image) as source:
        session.add_layer(source, kind=LayerKind.OVERLAY, sealed=True)
    assert export(repository, image)[2].bytes_read == SIZE
