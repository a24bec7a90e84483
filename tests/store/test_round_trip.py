"""What goes into a repository comes out, byte for byte and hole for hole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devops_snapshot.errors import ConflictError, NotFoundError, StorageError
from devops_snapshot.store import Extent, FileSink, FileSource, LayerKind, Repository

from .place import CHUNK, SEGMENT, export, make_file, noise, objects, opened, restore, used

SHAPES: dict[str, tuple[int, dict[int, bytes]]] = {
    "empty": (0, {}),
    "one byte": (1, {0: b"x"}),
    "one zero byte": (1, {}),
    "zeros": (3 * CHUNK + 5, {}),
    "written zeros": (2 * CHUNK, {0: bytes(2 * CHUNK)}),
    "one chunk": (CHUNK, {0: noise(CHUNK)}),
    "one chunk and a byte": (CHUNK + 1, {0: noise(CHUNK + 1)}),
    "hole at the end": (5 * CHUNK + 7, {0: noise(10)}),
    "hole at the start": (5 * CHUNK + 7, {5 * CHUNK: noise(7)}),
    "compressible": (2_000_000, {0: b"fuel-devops " * 150_000}),
    "repeating": (40 * CHUNK, {0: noise(CHUNK) * 40}),
    "several segments": (
        5 * SEGMENT + 3 * CHUNK + 9,
        {100: noise(CHUNK), 2 * SEGMENT - 10: noise(SEGMENT // 4), 5 * SEGMENT: noise(9)},
    ),
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    directory = tmp_path / "files"
    directory.mkdir()
    return {name: make_file(directory / name, *shape) for name, shape in SHAPES.items()}


def test_every_shape_comes_back(
    repository: Repository, files: dict[str, Path], tmp_path: Path
) -> None:
    export_id, layers, _ = export(repository, *files.values(), manifest=b"any\nbytes\xff")
    assert repository.manifest(export_id) == b"any\nbytes\xff"
    with repository.reading(export_id) as session:
        assert session.manifest == b"any\nbytes\xff"
        for path, layer in zip(files.values(), layers, strict=True):
            copy = restore(session, layer, tmp_path / "copy")
            assert copy.read_bytes() == path.read_bytes(), path.name
            assert used(copy) <= used(path) + 2 * CHUNK * len(SHAPES[path.name][1]), path.name
            copy.unlink()


def test_any_range_can_be_read(
    repository: Repository, files: dict[str, Path], tmp_path: Path
) -> None:
    export_id, layers, _ = export(repository, *files.values())
    choose = random.Random(1)
    with repository.reading(export_id) as session:
        for path, layer in zip(files.values(), layers, strict=True):
            content = path.read_bytes()
            reader = session.layer(layer)
            assert reader.size == len(content)
            for _ in range(5):
                offset, length = choose.randrange(len(content) + 1), choose.randrange(3 * CHUNK)
                assert reader.pread(offset, length) == content[offset : offset + length]
            covered = bytearray(len(content))
            for start, length in reader.extents():
                covered[start : start + length] = content[start : start + length]
            assert covered == content


def test_progress_adds_up_to_the_size(
    repository: Repository, files: dict[str, Path], tmp_path: Path
) -> None:
    path = files["several segments"]
    done: list[int] = []
    with repository.writing() as session:
        with FileSource.open(path) as source:
            layer = session.add_layer(source, kind=LayerKind.BASE, progress=done.append)
        session.publish(b"", {})
    assert sum(done) == path.stat().st_size
    assert len(done) > 3
    done.clear()
    with repository.reading(session.export_id) as reading, FileSink.create(tmp_path / "x") as sink:
        stats = reading.restore(layer, sink, progress=done.append)
        assert reading.stats == stats
    assert sum(done) == path.stat().st_size
    assert min(done) >= 0
    assert stats.bytes_written == (2 + 65 + 1) * CHUNK  # the chunks that the three pieces touch


def test_holes_are_not_read(tmp_path: Path) -> None:
    path = make_file(tmp_path / "big", 1 << 40, {0: b"a", 1 << 39: noise(CHUNK)})
    with opened(tmp_path / "repository") as repository:
        export_id, (layer,), stats = export(repository, path)
        assert stats.bytes_read <= 4 * CHUNK
        with repository.reading(export_id) as session:
            copy = restore(session, layer, tmp_path / "copy")
        with FileSource.open(copy) as source:
            assert source.size == 1 << 40
            assert list(source.extents()) == [Extent(0, CHUNK), Extent(1 << 39, CHUNK)]
            assert source.pread(1 << 39, CHUNK) == noise(CHUNK)


def test_a_source_need_not_be_a_file(tmp_path: Path) -> None:
    class Numbers:
        size = 3 * CHUNK

        def extents(self) -> list[Extent]:
            return [Extent(10, 5), Extent(20, CHUNK), Extent(CHUNK + 30, 1)]

        def pread(self, offset: int, length: int) -> bytes:
            return noise(self.size)[offset : offset + length]

    with opened(tmp_path / "repository") as repository:
        with repository.writing() as session:
            layer = session.add_layer(Numbers(), kind=LayerKind.MEMORY)
            session.publish(b"", {})
        with repository.reading(session.export_id) as reading, repository.writing() as writing:
            reader = reading.layer(layer)
            assert reader.pread(0, 3 * CHUNK) == noise(3 * CHUNK)[: 2 * CHUNK] + bytes(CHUNK)
            assert writing.add_layer(reader, kind=LayerKind.MEMORY) == layer


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    size=st.integers(0, 40 * CHUNK),
    pieces=st.lists(
        st.tuples(
            st.integers(0, 40 * CHUNK),
            st.integers(1, 3 * CHUNK),
            st.sampled_from(["noise", "zeros", "text"]),
        ),
        max_size=6,
    ),
    seed=st.integers(0, 3),
)
def test_random_sparse_contents(
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    size: int,
    pieces: list[tuple[int, int, str]],
    seed: int,
) -> None:
    directory = tmp_path_factory.mktemp("random")
    content = {
        "noise": noise(3 * CHUNK, seed),
        "zeros": bytes(3 * CHUNK),
        "text": b"ab" * 2 * CHUNK,
    }
    data = {
        offset: content[kind][: min(length, size - offset)]
        for offset, length, kind in pieces
        if offset < size
    }
    path = make_file(directory / "file", size, data)
    with opened(tmp_path / "repository") as repository:  # the same one for all examples
        export_id, (layer,), stats = export(repository, path)
        with repository.reading(export_id) as session:
            copy = restore(session, layer, directory / "copy")
            assert session.layer(layer).pread(0, size) == path.read_bytes()
    assert copy.read_bytes() == path.read_bytes()
    assert stats.chunks_read >= stats.chunks_sent + stats.chunks_deduplicated


class FailingSource:
    """Fails after a mebibyte."""

    size = 100 * CHUNK

    def extents(self) -> list[Extent]:
        return [Extent(0, self.size)]

    def pread(self, offset: int, length: int) -> bytes:
        if offset > 16 * CHUNK:
            raise RuntimeError("source failed")
        return noise(length, offset)


def test_an_export_that_fails_does_not_exist(
    repository: Repository, files: dict[str, Path], directory: Path
) -> None:
    with pytest.raises(RuntimeError, match="source"), repository.writing() as session:
        session.add_layer(FailingSource(), kind=LayerKind.OVERLAY)
    assert repository.exports() == []
    assert [path.name for path in objects(directory)] == ["repository.json"]


def test_an_export_that_is_not_published_does_not_exist(
    repository: Repository, files: dict[str, Path], directory: Path
) -> None:
    with repository.writing() as session, FileSource.open(files["one byte"]) as source:
        session.add_layer(source, kind=LayerKind.OVERLAY)
    assert repository.exports() == []
    assert objects(directory, "exports", "layers", "leases") == []


def test_kinds_of_layers_lie_in_different_packs(tmp_path: Path, files: dict[str, Path]) -> None:
    with opened(tmp_path / "repository") as repository, repository.writing() as session:
        for kind, name in zip(LayerKind, ("one chunk", "one byte", "compressible"), strict=True):
            with FileSource.open(files[name]) as source:
                session.add_layer(source, kind=kind)
        session.publish(b"", {})
    packs = objects(tmp_path / "repository", "packs")
    assert sorted(pack.read_bytes()[12] for pack in packs) == [0, 1, 2]


def test_packs_do_not_grow_beyond_their_limit(tmp_path: Path) -> None:
    path = make_file(tmp_path / "file", 150_000_000, {0: noise(150_000_000)})
    with opened(tmp_path / "repository") as repository:
        export_id, (layer,), _ = export(repository, path)
        sizes = [pack.stat().st_size for pack in objects(tmp_path / "repository", "packs")]
        assert len(sizes) == 3
        assert max(sizes) <= 64 * 1024 * 1024
        assert sorted(sizes)[-2] > 50 * 1024 * 1024
        with repository.reading(export_id) as session:
            assert restore(session, layer, tmp_path / "x").read_bytes() == path.read_bytes()


def test_only_layers_of_the_export_are_given(
    repository: Repository, files: dict[str, Path]
) -> None:
    _, (other,), _ = export(repository, files["one chunk"])
    export_id, _, _ = export(repository, files["one byte"])
    with repository.reading(export_id) as session, pytest.raises(NotFoundError, match=other):
        session.layer(other)
    with (
        repository.writing() as writing,
        FileSource.open(files["one byte"]) as source,
        pytest.raises(NotFoundError, match=other),
    ):
        writing.add_layer(source, kind=LayerKind.OVERLAY, parent=other)


def test_a_file_that_changes_is_refused(repository: Repository, files: dict[str, Path]) -> None:
    path = files["one chunk"]
    with pytest.raises(ConflictError, match=f"{path} changed while"), FileSource.open(path):
        path.write_bytes(b"shorter")
    with pytest.raises(ConflictError, match=f"{path} changed while"), FileSource.open(path):
        path.unlink()
    with pytest.raises(NotFoundError, match=str(path)), FileSource.open(path):
        pass


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is not a regular file"), FileSource.open(tmp_path):
        pass


def test_a_sink_is_a_new_file_and_vanishes_on_failure(tmp_path: Path) -> None:
    (tmp_path / "present").write_bytes(b"x")
    with (
        pytest.raises(ConflictError, match="present exists"),
        FileSink.create(tmp_path / "present"),
    ):
        pass
    assert (tmp_path / "present").read_bytes() == b"x"
    failure = pytest.raises(StorageError, match="new cannot be written")
    with failure, FileSink.create(tmp_path / "new") as sink:
        sink.allocate(-1)
    assert not (tmp_path / "new").exists()
