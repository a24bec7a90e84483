"""What is kept of a layer finds its chunks again; damaged, it finds nothing, and says so."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devops_snapshot.errors import FormatError
from devops_snapshot.store import FileAtHand, KnownLayer, LayerKind, Seeds
from devops_snapshot.store.format.hashing import digest

from .place import CHUNK, SEGMENT, export, make_file, noise, opened
from .saved_memory import PAGE, RAM, pages, saved


def kept(directory: Path, content: bytes, *, sparse: bool = False) -> KnownLayer:
    """What is kept of a file's layer, written and read."""
    parts = {0: content[: 3 * CHUNK], SEGMENT + CHUNK: content[SEGMENT + CHUNK :]}
    file = make_file(directory / "file", 0, parts if sparse else {0: content})
    with opened(directory / "repository") as repository:
        export_id, (layer,), _ = export(repository, file, kind=LayerKind.MEMORY)
        with repository.reading(export_id) as session:
            known = session.layer(layer).known()
    assert known is not None
    assert KnownLayer.decode(known.encode(), "it") == known
    return known


def test_chunks_of_a_sparse_file(tmp_path: Path) -> None:
    content = noise(SEGMENT + 5 * CHUNK + 7)
    known = kept(tmp_path, content, sparse=True)
    assert known.runs == ((0, 3), (257, 5))
    seeds = Seeds()
    with FileAtHand.open(tmp_path / "file") as file:
        seeds.add(known, file)
        for at in (0, 2 * CHUNK, SEGMENT + CHUNK, SEGMENT + 4 * CHUNK):
            chunk = content[at : at + CHUNK]
            assert seeds.find(4711, digest(chunk)) == chunk
        assert seeds.find(0, digest(content[5 * CHUNK : 6 * CHUNK])) is None
        assert seeds.find(0, bytes(32)) is None


def test_chunks_of_a_memory(tmp_path: Path) -> None:
    ram = {number: noise(PAGE, number) for number in range(RAM // PAGE)}
    known = kept(tmp_path, saved({"pc.ram": RAM}, [pages(ram)]))
    seeds = Seeds()
    with FileAtHand.open(tmp_path / "file") as file:
        seeds.add(known, file)
        chunk = b"".join(ram[number] for number in range(16, 32))
        assert seeds.find(0, digest(chunk)) == chunk


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    runs=st.lists(st.tuples(st.integers(0, 1 << 64), st.integers(0, 5)), max_size=4),
    recipe=st.binary(max_size=80),
    changes=st.dictionaries(st.integers(0, 300), st.integers(0, 255), max_size=3),
    length=st.integers(0, 400),
)
def test_damage(
    tmp_path: Path,
    runs: list[tuple[int, int]],
    recipe: bytes,
    changes: dict[int, int],
    length: int,
) -> None:
    runs = [(first % (1 << 64), number) for first, number in runs]
    digests = noise(32 * sum(number for _, number in runs))
    data = bytearray(KnownLayer(tuple(runs), digests, recipe).encode())
    for at, byte in changes.items():
        if at < len(data):
            data[at] = byte
    path = tmp_path / "file"
    path.write_bytes(noise(CHUNK))
    with suppress(FormatError), FileAtHand.open(path) as file:
        known = KnownLayer.decode(bytes(data[: max(length, 100 * (not changes))]), "it")
        seeds = Seeds()
        seeds.add(known, file)
        for _, some in known.tables():
            seeds.find(0, some[:32])
