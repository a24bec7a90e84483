"""Layers are fetched once, whatever becomes of the import, and what is kept is never wrong."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from devops_snapshot.errors import FormatError, StorageError
from devops_snapshot.importer.checks import Room
from devops_snapshot.importer.layer_cache import LayerCache
from devops_snapshot.importer.layer_cache.pool_files import PoolFiles
from devops_snapshot.importer.run import _room
from devops_snapshot.progress import Quiet
from devops_snapshot.store import ImportSession, LayerId, LayerKind
from devops_snapshot.workshop import NAME, NAME_IN_POOL, workshop_of
from tests.store.place import CHUNK, export, make_file, noise, objects, opened
from tests.store.saved_memory import PAGE, RAM, pages, saved
from tests.store.small_disk import needs_root, small_file_system

SIZE = 80 * CHUNK + 5
FEW = 200_000  # bytes: digests, and the recipe of a memory
HEAD = b"another beginning" * 100


def memory(size: int = 4 * RAM) -> bytes:
    ram = {number: noise(PAGE, number) for number in range(size // PAGE) if number % 7}
    return saved({"pc.ram": size}, [pages(ram, size=size)])


class World:
    """A repository with two disks and a memory, a cache, and a directory for what is taken of it.

    :ivar contents: of the layers
    """

    def __init__(self, directory: Path, room: Path) -> None:
        self.repository = directory / "repository"
        self.pool = room / "pool"
        self.pool.mkdir()
        self.contents: dict[LayerId, bytes] = {}
        sparse = {0: noise(SIZE, 2)[: 9 * CHUNK], SIZE - 5: b"end.."}
        with opened(self.repository) as repository:
            self.export_id, layers, _ = export(
                repository,
                make_file(directory / "one", SIZE, {0: noise(SIZE, 1)}),
                make_file(directory / "two", SIZE, sparse),
                make_file(directory / "memory", 0, {0: memory()}),
                kind=LayerKind.MEMORY,
            )
        for layer, name in zip(layers, ("one", "two", "memory"), strict=True):
            self.contents[layer] = (directory / name).read_bytes()
        self.one, self.two, self.memory = layers

    def cache(self, *, limit: int = 1 << 40, pool_files: PoolFiles | None = None) -> LayerCache:
        """As a process of its own would have it."""
        found = pool_files or PoolFiles()
        return LayerCache(workshop_of(self.pool), limit=limit, look=lambda: found)

    @contextmanager
    def session(self) -> Iterator[ImportSession]:
        with (
            opened(self.repository) as repository,
            repository.reading(self.export_id) as session,
        ):
            yield session

    def fetch(self, *layers: LayerId, cache: LayerCache | None = None) -> int:
        """Returns the bytes received."""
        with self.session() as session:
            (cache or self.cache()).fetch(session, layers or list(self.contents), Quiet())
            return session.stats.bytes_received

    def take(
        self, layer: LayerId, name: str, *, head: bytes = b"", is_written: bool = False
    ) -> tuple[Path, int]:
        """Take a layer and check what was taken; returns it, and the bytes received."""
        path = self.pool / name
        with self.session() as session:
            self.cache().take(session, layer, path, head=head, is_written=is_written)
            received = session.stats.bytes_received
        assert path.read_bytes() == head + self.contents[layer][len(head) :]
        self.check(layer)
        return path, received

    def check(self, *layers: LayerId) -> None:
        """What is called sound in the cache is right."""
        for layer in layers or list(self.contents):
            entry = self.cache().entry(layer)
            if entry.is_sound():
                with entry.opened() as content:
                    assert content.pread(0, content.size) == self.contents[layer]

    def missing(self) -> int:
        with self.session() as session:
            return self.cache().missing(session, list(self.contents))

    @property
    def data_size(self) -> int:
        return sum(len(content) for content in self.contents.values()) - 71 * CHUNK


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return World(tmp_path, tmp_path)


def disk_usage(*paths: Path) -> int:
    inodes = {path.stat().st_ino: path.stat().st_blocks * 512 for path in paths}
    return sum(inodes.values())


def test_what_was_fetched_is_not_fetched_again(world: World) -> None:
    assert world.missing() == world.data_size
    assert world.fetch() > 10 * FEW
    assert world.missing() == 0
    assert world.fetch() == 0
    world.check()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs another file system")
def test_room_in_the_cache_and_room_in_the_pool_add_up_on_one_file_system(world: World) -> None:
    """Where libvirt writes the files, each byte is written twice."""

    def room(pool: Path) -> Room:
        target: Any = SimpleNamespace(files_are_ours=False, is_local=True, directory=pool)
        with world.session() as session:
            return _room(target, world.cache(), session, list(world.contents))

    assert room(world.pool) == Room(to_write=2 * world.data_size)
    elsewhere = room(Path("/dev/shm"))
    assert elsewhere.to_write == world.data_size
    assert elsewhere.in_cache is not None
    assert elsewhere.in_cache.to_write == world.data_size
    world.fetch()
    assert room(world.pool) == Room(to_write=world.data_size)


class Failing(Quiet):
    """An import that ends when so many bytes have come."""

    def __init__(self, after: int) -> None:
        self._left = after

    def advance(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise InterruptedError


def test_what_has_come_before_a_failure_stays(world: World) -> None:
    with world.session() as session, pytest.raises(InterruptedError):
        world.cache().fetch(session, [world.one], Failing(SIZE * 3 // 4))
    with world.session() as session:
        assert 0 < world.cache().missing(session, [world.one]) < SIZE // 3
    assert FEW < world.fetch(world.one) < SIZE * 3 // 4
    assert world.fetch(world.one) == 0
    world.check()


class Waiting(Quiet):
    """An import that goes on when several layers have begun to come."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.most = 0

    def advance(self, count: int) -> None:
        deadline = time.monotonic() + 30
        while self.most < 2 and time.monotonic() < deadline:
            self.most = max(self.most, len(list(self._directory.glob("*.part"))))
            time.sleep(0.005)


def test_several_come_at_the_same_time(world: World) -> None:
    waiting = Waiting(world.cache().workshop / "layers")
    with world.session() as session:
        world.cache().fetch(session, list(world.contents), waiting)
    assert waiting.most >= 2
    world.check()


def test_what_has_come_of_a_memory_stays(world: World, tmp_path: Path) -> None:
    content = memory(64 * RAM)
    with opened(world.repository) as repository:
        file = make_file(tmp_path / "large", 0, {0: content})
        world.export_id, (layer,), _ = export(repository, file, kind=LayerKind.MEMORY)
    world.contents[layer] = content
    with world.session() as session, pytest.raises(InterruptedError):
        world.cache().fetch(session, [layer], Failing(0))
    with world.session() as session:
        assert 0 < world.cache().missing(session, [layer]) < len(content)
    assert FEW < world.fetch(layer) < len(content) * 7 // 8
    world.check(layer)


def test_a_killed_import_leaves_what_has_come(world: World, tmp_path: Path) -> None:
    with world.session() as session, pytest.raises(InterruptedError):
        world.cache().fetch(session, [world.one], Failing(SIZE * 3 // 4))
    part = world.cache().entry(world.one).part_path
    with part.open("r+b") as file:  # what a crash of the host may leave: nothing of it is believed
        file.seek(CHUNK + 7)
        file.write(bytes(2 * CHUNK))
        file.seek(0, os.SEEK_END)
        file.write(b"garbage" * CHUNK)
    assert world.fetch(world.one) < SIZE * 3 // 4
    world.check()


def test_no_byte_is_written_twice(world: World) -> None:
    world.fetch()
    entry = world.cache().entry(world.one)
    path, received = world.take(world.one, "linked")
    assert received == 0
    assert path.samefile(entry.path)
    assert entry.takes == 0
    other, _ = world.take(world.one, "the same")
    assert other.samefile(path)
    headed, _ = world.take(world.two, "headed", head=HEAD)
    assert headed.samefile(world.cache().entry(world.two).path)
    assert world.fetch() == 0


def test_a_file_that_begins_otherwise_is_nobody_elses(world: World) -> None:
    world.fetch()
    first, _ = world.take(world.one, "first", head=HEAD)
    second, received = world.take(world.one, "second", head=HEAD[::-1])
    third, _ = world.take(world.one, "third")
    assert received < FEW
    assert not first.samefile(second)
    assert not first.samefile(third)
    assert first.read_bytes()[: len(HEAD)] == HEAD
    first.unlink()
    again, received = world.take(world.one, "again")
    assert received == 0
    assert again.samefile(world.cache().entry(world.one).path)
    headed, _ = world.take(world.one, "headed", head=HEAD)
    assert not headed.samefile(again)


def test_a_file_that_guests_write_to_is_nobody_elses(world: World) -> None:
    world.fetch()
    path, received = world.take(world.one, "written", is_written=True)
    assert received < FEW
    assert path.stat().st_nlink == 1
    path.write_bytes(b"the guest's")
    world.take(world.one, "another")


def test_a_sibling_costs_its_difference(world: World, tmp_path: Path) -> None:
    """The same chunks in other places, and another save of the same guest."""
    assert world.fetch() > 10 * FEW
    old = world.contents[world.one]
    chunks = [old[at : at + CHUNK] for at in range(0, 80 * CHUNK, CHUNK)]
    disk = b"".join([*chunks[40:], noise(CHUNK, 9), *chunks[:40]])
    ram = bytearray(world.contents[world.memory])
    ram[1 << 20 : (1 << 20) + 3] = b"xyz"
    with opened(world.repository) as repository:
        files = make_file(tmp_path / "a", 0, {0: disk}), make_file(tmp_path / "b", 0, {0: ram})
        world.export_id, layers, _ = export(repository, *files, kind=LayerKind.MEMORY)
    world.contents = dict(zip(layers, (disk, bytes(ram)), strict=True))
    assert world.fetch() < FEW + 3 * CHUNK
    world.check()
    assert all(world.cache().entry(layer).is_sound() for layer in layers)


@pytest.mark.parametrize("head", [b"", HEAD])
@pytest.mark.parametrize("kind", ["one", "memory"])
def test_whoever_writes_to_a_file_does_not_change_the_layer(
    world: World, kind: str, head: bytes
) -> None:
    layer: LayerId = getattr(world, kind)
    world.fetch()
    path, _ = world.take(layer, "changed", head=head)
    with path.open("r+b") as file:
        file.seek(30 * CHUNK)
        file.write(b"x")
    assert not world.cache().entry(layer).is_sound()
    other, received = world.take(layer, "right")
    assert 0 < received < FEW + 2 * 16 * CHUNK
    assert not other.samefile(path)
    assert path.read_bytes()[30 * CHUNK : 30 * CHUNK + 1] == b"x"


def test_times_that_change_alone_change_nothing(world: World) -> None:
    world.fetch()
    path, _ = world.take(world.one, "linked", head=HEAD)
    os.utime(path, (1, 1))
    assert world.missing() == 0
    assert world.fetch() < FEW
    assert path.samefile(world.cache().entry(world.one).path)


def test_a_change_right_after_it_was_noted_is_seen(world: World) -> None:
    world.fetch()
    for _ in range(20):
        path, _ = world.take(world.one, "linked", head=HEAD)
        with path.open("r+b") as file:
            file.seek(30 * CHUNK)
            file.write(b"x")
        assert not world.cache().entry(world.one).is_sound()
        path.unlink()


def test_the_pool_has_it_already(world: World) -> None:
    base = world.pool / "base"
    base.write_bytes(world.contents[world.one])
    os.utime(base, (1, 1))
    files = PoolFiles({SIZE: [base]}, frozenset([base]))
    cache = world.cache(pool_files=files)
    assert world.fetch(world.one, cache=cache) < FEW
    path, _ = world.take(world.one, "linked")
    assert path.samefile(base)
    assert base.stat().st_mtime == 1


def test_what_is_written_to_in_the_pool_is_copied(world: World) -> None:
    disk = world.pool / "disk"
    content = world.contents[world.one]
    disk.write_bytes(content[: 7 * CHUNK] + b"x" + content[7 * CHUNK + 1 :])
    cache = world.cache(pool_files=PoolFiles({SIZE: [disk]}))
    assert world.fetch(world.one, cache=cache) < FEW + 16 * CHUNK
    path, _ = world.take(world.one, "mine")
    assert not path.samefile(disk)


def test_given_up_before_somebody_writes(world: World) -> None:
    world.fetch()
    path, _ = world.take(world.one, "linked", head=HEAD)
    content = path.read_bytes()
    assert world.cache().give_up(path)
    assert path.stat().st_nlink == 1
    assert path.read_bytes() == content
    assert not world.cache().give_up(path)
    assert not world.cache().give_up(world.pool / "nothing")
    assert world.fetch(world.one) > FEW


def test_the_least_recently_used_goes_first(world: World) -> None:
    for moment, layer in enumerate((world.two, world.one, world.memory)):
        world.fetch(layer)
        os.utime(world.cache().entry(layer)._seen_path, (moment, moment))
    world.cache(limit=len(world.contents[world.memory]) + CHUNK).trim()
    assert [world.cache().entry(layer).is_sound() for layer in world.contents] == [
        False,
        False,
        True,
    ]
    world.cache(limit=0).trim(keep=[world.memory])
    assert world.cache().entry(world.memory).is_sound()
    path, _ = world.take(world.memory, "in use")
    world.cache(limit=0).trim()
    assert world.cache().entry(world.memory).is_sound()
    path.unlink()
    world.cache(limit=0).trim()
    assert not any((world.cache().workshop / "layers").iterdir())


def test_what_others_fetch_is_not_given_up(world: World) -> None:
    cache = world.cache(limit=0)
    coming = threading.Event()

    class Slow(Quiet):
        def advance(self, count: int) -> None:
            coming.set()
            cache.trim()

    with world.session() as session:
        cache.fetch(session, [world.one], Slow())
    assert coming.is_set()
    world.check(world.one)


def test_many_at_once_fetch_it_once(world: World) -> None:
    with ThreadPoolExecutor(4) as threads:
        received = list(threads.map(lambda _: world.fetch(), range(4)))
    once = sum(path.stat().st_size for path in objects(world.repository, "packs"))
    assert once // 2 < sum(received) < once + 4 * FEW
    world.check()


def test_many_at_once_take_it(world: World) -> None:
    names = [f"copy-{number}" for number in range(8)]
    with ThreadPoolExecutor(4) as threads:
        heads = [HEAD, b"", HEAD[::-1], b""] * 2
        list(threads.map(lambda n, h: world.take(world.one, n, head=h), names, heads))
    for name, head in zip(names, heads, strict=True):
        content = (world.pool / name).read_bytes()
        assert content == head + world.contents[world.one][len(head) :], name


def test_a_damaged_repository(world: World) -> None:
    """Whatever cannot be read in full is not called sound."""
    for pack in objects(world.repository, "packs"):
        content = bytearray(pack.read_bytes())
        content[len(content) // 2] ^= 0xFF
        pack.write_bytes(content)
    with pytest.raises(FormatError):
        world.fetch()
    assert not all(world.cache().entry(layer).is_sound() for layer in world.contents)
    world.check()


@needs_root
def test_no_room_is_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    room = tmp_path / "room"
    room.mkdir()
    with small_file_system(room, "8M"):
        world = World(tmp_path, room)
        with pytest.raises(StorageError, match=r"bytes have to come, but .* has room for"):
            world.fetch()
        assert disk_usage(*(room / NAME).rglob("*")) == 0
        world.fetch(world.one)
        world.fetch(world.memory)  # in its place
        assert not world.cache().entry(world.one).is_sound()
        with world.session() as session:
            free = os.statvfs(room).f_bavail * os.statvfs(room).f_frsize
            missing = world.cache().missing(session, [world.one])
            assert free < missing < free + world.cache().spare()
            assert world.cache().spare(keep=[world.memory]) == 0


@needs_root
def test_file_systems_that_share_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has the same file there, and no byte is written twice either."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image, room = tmp_path / "image", tmp_path / "room"
    room.mkdir()
    with image.open("wb") as file:
        file.truncate(400 << 20)
    try:
        subprocess.run(["mkfs.xfs", "-q", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, room], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no XFS here")
    try:
        world = World(tmp_path, room)
        world.fetch()
        free = os.statvfs(room).f_bfree
        taken = [world.take(world.one, "one", head=HEAD), world.take(world.one, "two")]
        taken.append(world.take(world.one, "written", is_written=True))
        subprocess.run(["sync", "-f", room], check=True)
        assert free - os.statvfs(room).f_bfree < 64  # blocks of 4 KiB
        for path, received in taken:
            assert (path.stat().st_nlink, received) == (1, 0)
            path.write_bytes(b"x")
        world.check(world.one)
        assert world.fetch() == 0
    finally:
        subprocess.run(["umount", room], check=True)


def _as_it_is(directory: Path) -> None:
    pass


def _others(directory: Path) -> None:
    directory.chmod(0o777)


def _link(directory: Path) -> None:
    directory.rmdir()
    directory.symlink_to("/etc")


@pytest.mark.parametrize(
    ("change", "is_used"), [(_as_it_is, True), (_others, False), (_link, False)]
)
def test_a_directory_that_others_can_write_to_is_not_used(
    tmp_path: Path, change: Callable[[Path], None], is_used: bool
) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    beside = tmp_path / NAME
    assert workshop_of(pool) == beside
    beside.mkdir(mode=0o700)
    change(beside)
    assert workshop_of(pool) == (beside if is_used else pool / NAME_IN_POOL)


def test_nobody_else_looks_into_it(world: World) -> None:
    before = os.umask(0)
    try:
        world.fetch(world.one)
    finally:
        os.umask(before)
    workshop = world.cache().workshop
    paths = [workshop, *workshop.iterdir(), world.cache().entry(world.one).path]
    directories = [path for path in paths if path.is_dir()]
    assert len(directories) == 3
    assert {path.stat().st_mode & 0o777 for path in directories} == {0o700}
    assert world.cache().entry(world.one).path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("after", [0, SIZE * 3 // 4])
def test_all_bytes_are_told(world: World, after: int) -> None:
    """Those that are here from an earlier import are told at once."""
    told: list[tuple[str, int]] = []

    class Listener:
        def begin(self, what: str, total: int) -> None:
            told.append((what, total))

        def advance(self, count: int) -> None:
            told.append(("", count))

    if after:
        with world.session() as session, pytest.raises(InterruptedError):
            world.cache().fetch(session, [world.one], Failing(after))
    with world.session() as session:
        world.cache().fetch(session, list(world.contents), Listener())
    (what, total), *rest = told
    assert (what, total) == ("Fetching", world.data_size)
    assert sum(count for _, count in rest) == total
