"""Only what the repository lacks is sent."""

from __future__ import annotations

import logging
import random
import shutil
from pathlib import Path

import pytest

from devops_snapshot.store import FileSource, LayerKind, Repository
from devops_snapshot.store.dedup.chunk_table import ChunkTable, Place

from .place import CHUNK, SEGMENT, export, make_file, noise, objects, opened, restore

SIZE = SEGMENT + 10 * CHUNK + 77
OVERHEAD = 20_000  # bytes; a pack's index, a segment or two, a layer object and the manifest


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_file(tmp_path / "image", SIZE, {0: noise(SIZE)})


def changed(image: Path, *chunks: int) -> Path:
    """Return a copy of an image in which some chunks have other content."""
    copy = image.with_name("changed")
    shutil.copy(image, copy)
    with copy.open("r+b") as file:
        for chunk in chunks:
            file.seek(chunk * CHUNK + 100)
            file.write(noise(16, seed=chunk + 1))
    return copy


def test_the_same_again_sends_nothing(repository: Repository, image: Path) -> None:
    _, first_layers, first = export(repository, image)
    assert (first.chunks_read, first.chunks_sent, first.chunks_deduplicated) == (267, 267, 0)
    assert SIZE < first.bytes_sent < SIZE * 1.002
    assert first.bytes_read == SIZE
    _, layers, second = export(repository, image)
    assert layers == first_layers
    assert (second.chunks_sent, second.chunks_deduplicated) == (0, 267)
    assert second.bytes_deduplicated == SIZE
    assert second.bytes_sent < 1000  # the manifest


def test_a_change_sends_the_changed_chunks(
    repository: Repository, image: Path, tmp_path: Path
) -> None:
    first_id, (first,), _ = export(repository, image)
    second_id, (second,), stats = export(repository, changed(image, 7, 200, 266))
    assert stats.chunks_sent == 3
    assert stats.chunks_deduplicated == 264
    assert 2 * CHUNK < stats.bytes_sent < 3 * CHUNK + 3 * 8192 + OVERHEAD
    for export_id, layer, path in (
        (first_id, first, image),
        (second_id, second, tmp_path / "changed"),
    ):
        with repository.reading(export_id) as session:
            copy = restore(session, layer, tmp_path / f"copy-{path.name}")
        assert copy.read_bytes() == path.read_bytes()


def test_chunks_are_shared_within_an_export_and_across_kinds(tmp_path: Path, image: Path) -> None:
    with opened(tmp_path / "repository") as repository, repository.writing() as session:
        with FileSource.open(image) as source:
            base = session.add_layer(source, kind=LayerKind.BASE)
            session.add_layer(source, kind=LayerKind.BASE)
        with FileSource.open(changed(image, 1)) as source:
            session.add_layer(source, kind=LayerKind.OVERLAY, parent=base)
        session.publish(b"", {})
    assert session.stats.chunks_sent == 267 + 1
    assert session.stats.chunks_deduplicated == 267 + 266
    assert len(objects(tmp_path / "repository", "layers")) == 2


def test_another_machine_finds_the_same_chunks(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "repository") as repository:
        export(repository, image)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other-cache"))
    with opened(tmp_path / "repository") as repository:
        _, _, stats = export(repository, image)
    assert stats.chunks_sent == 0


@pytest.mark.parametrize("cached", ["damaged", "unwritable", "intact"])
def test_the_cache_is_never_needed(
    tmp_path: Path, image: Path, cache: Path, cached: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "repository") as repository:
        export(repository, image)
    indexes = objects(cache)
    assert indexes
    if cached == "damaged":
        for path in indexes:
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    if cached == "unwritable":
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with opened(tmp_path / "repository") as repository:
        export_id, (layer,), stats = export(repository, image)
        with repository.reading(export_id) as session:
            assert restore(session, layer, tmp_path / "copy").read_bytes() == image.read_bytes()
    assert stats.chunks_sent == 0


def test_chunks_of_a_pack_that_vanished_are_sent_again(
    repository: Repository, image: Path, directory: Path, tmp_path: Path
) -> None:
    first_id, (layer,), _ = export(repository, image)
    (pack,) = objects(directory, "packs")
    pack.unlink()
    second_id, _, stats = export(repository, image)
    assert stats.chunks_sent == 267
    for number, export_id in enumerate((second_id, first_id)):  # the first is whole again, too
        with repository.reading(export_id) as session:
            copy = restore(session, layer, tmp_path / f"copy-{number}")
        assert copy.read_bytes() == image.read_bytes()


@pytest.mark.parametrize("harm", ["flip", "cut"])
def test_chunks_of_a_pack_without_index_are_sent_again(
    tmp_path: Path,
    image: Path,
    harm: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with opened(tmp_path / "repository") as repository:
        export(repository, image)
    (pack,) = objects(tmp_path / "repository", "packs")
    content = pack.read_bytes()
    flipped = content[:-200] + bytes([content[-200] ^ 1]) + content[-199:]
    pack.write_bytes(flipped if harm == "flip" else content[:-5000])
    if harm == "flip":  # what is cached tells the size only
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other-cache"))
    with opened(tmp_path / "repository") as repository, caplog.at_level(logging.WARNING):
        export_id, (layer,), stats = export(repository, image)
        assert stats.chunks_sent == 267
        with repository.reading(export_id) as session:
            assert restore(session, layer, tmp_path / "copy").read_bytes() == image.read_bytes()
    assert pack.name in caplog.text
    assert "sent again" in caplog.text


def test_a_damaged_layer_object_is_written_again(tmp_path: Path, image: Path) -> None:
    with opened(tmp_path / "repository") as repository:
        first_id, (layer,), _ = export(repository, image)
        (path,) = objects(tmp_path / "repository", "layers")
        path.write_bytes(path.read_bytes()[:-1])
        _, _, stats = export(repository, image)
        assert stats.chunks_sent == 0
        with repository.reading(first_id) as session:
            assert restore(session, layer, tmp_path / "copy").read_bytes() == image.read_bytes()


def test_the_table_finds_every_digest_and_no_other() -> None:
    choose = random.Random(2)
    digests = [choose.randbytes(32) for _ in range(20_000)] + [bytes(8) + choose.randbytes(24)]
    table = ChunkTable()
    table.add_pack(b"".join(digests[:15_000]), 3)
    table.add_pack(b"".join(digests[:5]), 4)  # known already: the first place stays
    for number, digest in enumerate(digests[15_000:]):
        table.add(digest, Place(5, number))
    assert len(table) == len(digests)
    found = [table.find(digest) for digest in digests]
    assert found[:15_000] == [Place(3, number) for number in range(15_000)]
    assert found[15_000:] == [Place(5, number) for number in range(5_001)]
    assert not any(table.find(choose.randbytes(32)) for _ in range(1000))
