"""What several layers of an export need travels once, and comes back right whatever happens."""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.store import ImportSession, LayerId, LayerKind
from devops_snapshot.store.format.frame import encode_frame
from devops_snapshot.store.format.pack import PackedFrame, PackIndex
from devops_snapshot.store.reading.kept_frames import KeptFrames

from .place import CHUNK, export, make_file, noise, objects, opened, restore
from .saved_memory import PAGE, RAM, pages, saved
from .small_disk import fill, needs_root, small_file_system

FRAME = 16 * CHUNK


class Stored:
    """An export of some files.

    :ivar stored: bytes of its packs
    """

    def __init__(self, room: Path, *files: Path, kind: LayerKind = LayerKind.OVERLAY) -> None:
        self.room = room
        self.directory = room / "repository"
        self.files = files
        with opened(self.directory) as repository:
            self.export_id, self.layers, _ = export(repository, *files, kind=kind)

    @property
    def stored(self) -> int:
        return sum(pack.stat().st_size for pack in objects(self.directory, "packs"))

    def read(self, *, scratch: Path | None = None, expected: bool = True) -> int:
        """Restore every file, and return the bytes received."""
        with (
            opened(self.directory) as repository,
            repository.reading(self.export_id, scratch=scratch) as session,
        ):
            if expected:
                session.expect(self.layers)
            for number in range(len(self.files)):
                self.check(session, number)
            return session.stats.bytes_received

    def check(self, session: ImportSession, number: int) -> None:
        copy = restore(session, self.layers[number], self.room / f"copy-{number}")
        assert copy.read_bytes() == self.files[number].read_bytes()
        copy.unlink()


@pytest.fixture
def alike(tmp_path: Path) -> Stored:
    """Three files: the second has every other chunk of the first, the third has what is left."""
    first = [noise(CHUNK, seed) for seed in range(100)]
    contents = [
        first,
        [part for pair in zip(first[::2], [noise(CHUNK, 1000)] * 50, strict=True) for part in pair],
        [*first[1::2], noise(CHUNK, 2000)],
    ]
    files = [tmp_path / f"file-{number}" for number in range(3)]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(b"".join(content))
    return Stored(tmp_path, *files)


def memory(content: dict[int, bytes], again: Sequence[int]) -> bytes:
    """A saved memory; some pages are saved again with other content, as while a guest runs."""
    size = 16 * RAM
    dirty = pages({number: noise(PAGE, 90_000 + number) for number in again}, size=size)
    return saved({"pc.ram": size}, [pages(content, size=size), [dirty[n] for n in again]])


def test_layers_that_share_chunks_receive_them_once(alike: Stored) -> None:
    assert alike.read(scratch=alike.room) <= alike.stored
    assert alike.read(expected=False) > alike.stored * 1.5


def test_memories_of_a_guest_receive_pages_once(tmp_path: Path) -> None:
    ram = {number: noise(PAGE, number) for number in range(16 * RAM // PAGE) if number % 7}
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(memory(ram, again=range(5, 4000, 160)))
    other.write_bytes(memory({**ram, 9: noise(PAGE, -1)}, again=range(6, 4000, 150)))
    stored = Stored(tmp_path, one, other, kind=LayerKind.MEMORY)
    with opened(stored.directory) as repository, repository.reading(stored.export_id) as session:
        assert {type(session.layer(layer)).__name__ for layer in stored.layers} == {"RamReader"}
    assert stored.read(scratch=tmp_path) <= stored.stored


def test_a_layer_that_repeats_itself_far_away_receives_that_once(tmp_path: Path) -> None:
    data = noise(2 * FRAME)
    size = 3 << 30  # more than one window
    file = make_file(tmp_path / "file", size, {0: data, size - len(data): data})
    with opened(tmp_path / "repository") as repository:
        export_id, (layer,), _ = export(repository, file)
        with repository.reading(export_id) as session:
            assert restore(session, layer, tmp_path / "copy").stat().st_size == size
            assert session.stats.bytes_received < 2 * len(data)
    with (tmp_path / "copy").open("rb") as copy:
        assert copy.read(len(data)) == data
        copy.seek(size - len(data))
        assert copy.read() == data


def test_a_layer_that_is_restored_twice_travels_once(alike: Stored) -> None:
    with opened(alike.directory) as repository, repository.reading(alike.export_id) as session:
        session.expect([alike.layers[0]] * 2)
        alike.check(session, 0)
        received = session.stats.bytes_received
        alike.check(session, 0)
        assert session.stats.bytes_received == received


def test_layers_restored_at_the_same_time(alike: Stored) -> None:
    with (
        opened(alike.directory) as repository,
        repository.reading(alike.export_id) as session,
        ThreadPoolExecutor() as threads,
    ):
        session.expect(alike.layers)
        list(threads.map(lambda number: alike.check(session, number), range(3)))
        assert session.stats.bytes_received <= alike.stored


def test_without_a_place_for_it_more_travels(alike: Stored) -> None:
    assert alike.read(scratch=Path("/proc/nowhere")) > alike.stored * 1.5
    assert alike.read(scratch=Path("/proc")) > alike.stored * 1.5


@needs_root
def test_a_full_disk_keeps_no_frames(alike: Stored) -> None:
    small = alike.room / "small"
    small.mkdir()
    with small_file_system(small, "8m"):
        received = alike.read(scratch=small)
    assert alike.stored * 1.2 < received
    with (
        small_file_system(small, "64m"),
        opened(alike.directory) as repository,
        repository.reading(alike.export_id, scratch=small) as session,
    ):
        session.expect(alike.layers)
        fill(small / "others")
        for number in range(3):
            alike.check(session, number)


def test_damage_is_told_of_each_layer_that_it_touches(alike: Stored) -> None:
    """The first and the third file need the frame, the second one as well, another one does not."""
    sound = Stored(alike.room, make_file(alike.room / "sound", CHUNK, {0: noise(CHUNK, 5000)}))
    pack = max(objects(alike.directory, "packs"), key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[5000] ^= 1
    pack.write_bytes(content)
    with opened(alike.directory) as repository, repository.reading(alike.export_id) as session:
        session.expect(alike.layers)
        for number in range(3):
            with pytest.raises(FormatError, match=f"{pack.name}, frame 0 is damaged"):
                alike.check(session, number)
            assert not (alike.room / f"copy-{number}").exists()
    sound.read()


def test_a_missing_pack_is_told_by_the_restore(alike: Stored) -> None:
    for pack in objects(alike.directory, "packs"):
        pack.unlink()
    with opened(alike.directory) as repository, repository.reading(alike.export_id) as session:
        session.expect(alike.layers)
        with pytest.raises(FormatError, match="is missing"):
            alike.check(session, 1)


def test_an_unknown_layer_cannot_be_expected(alike: Stored) -> None:
    with (
        opened(alike.directory) as repository,
        repository.reading(alike.export_id) as session,
        pytest.raises(NotFoundError, match="no layer"),
    ):
        session.expect([LayerId("0" * 64)])


# The frames themselves


def pack_of(frames: Sequence[bytes]) -> PackIndex:
    sizes = [len(frame) for frame in frames]
    packed = [PackedFrame(0, size, 1, number, 1) for number, size in enumerate(sizes)]
    return PackIndex("0" * 32 + "-0", 0, packed, b"", array("I"), 0)


class Node:
    """Where frames come from."""

    def __init__(self) -> None:
        self.frames = [encode_frame(noise(1000 + number, number), 1).data for number in range(8)]
        self.index = pack_of(self.frames)
        self.read_frames: list[int] = []
        self.before: Callable[[], object] = lambda: None

    def read(self, numbers: Sequence[int]) -> dict[int, bytes]:
        self.before()
        self.read_frames += numbers
        return {number: self.frames[number] for number in numbers}


def test_frames_are_kept_until_they_are_needed_no_more(tmp_path: Path) -> None:
    node, kept = Node(), KeptFrames(tmp_path)
    kept.expect(node.index, [0, 1])
    kept.expect(node.index, [1])
    for _ in range(2):
        found = kept.fetch(node.index, [0, 1], node.read)
        assert {number: bytes(data) for number, data in found.items()} == {
            0: node.frames[0],
            1: node.frames[1],
        }
    assert node.read_frames == [0, 1, 0]
    kept.close()


@pytest.mark.parametrize("spoil", [b"x", None])
def test_a_frame_that_is_spoilt_here_is_read_again(tmp_path: Path, spoil: bytes | None) -> None:
    node, kept = Node(), KeptFrames(tmp_path)
    kept.fetch(node.index, [2, 3], node.read, keep=True)
    assert kept._file is not None
    if spoil:
        os.pwrite(kept._file.fileno(), spoil, 50)
    else:
        os.ftruncate(kept._file.fileno(), 50)
    found = kept.fetch(node.index, [2, 3], node.read)
    assert [bytes(found[number]) for number in (2, 3)] == node.frames[2:4]
    assert node.read_frames == ([2, 3, 2] if spoil else [2, 3, 2, 3])
    kept.close()


def test_who_waits_for_a_read_that_fails_reads_itself(tmp_path: Path) -> None:
    node, kept = Node(), KeptFrames(tmp_path)
    kept.expect(node.index, range(8))
    kept.expect(node.index, range(8))
    waiting = threading.Event()

    def fail() -> None:
        node.before = lambda: None
        waiting.set()
        other.join(0.2)
        raise FormatError("cut off")

    node.before = fail
    found = []

    def wait() -> None:
        assert waiting.wait(10)
        found.append(kept.fetch(node.index, [5, 6], node.read))

    other = threading.Thread(target=wait)
    other.start()
    with pytest.raises(FormatError, match="cut off"):
        kept.fetch(node.index, [4, 5, 6], node.read)
    other.join(10)
    assert {number: bytes(data) for number, data in found[0].items()} == {
        5: node.frames[5],
        6: node.frames[6],
    }
    kept.close()
