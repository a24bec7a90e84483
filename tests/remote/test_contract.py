"""What every kind of storage must do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devops_snapshot.errors import ConflictError, FormatError, NotFoundError, StorageError
from devops_snapshot.remote import Remote, connect, interface, require_exclusive_creation
from devops_snapshot.remote.patience import ConnectionLost

DATA = os.urandom(1_000_003)


@pytest.fixture
def remote(any_url: str) -> Iterator[Remote]:
    with connect(any_url) as remote:
        yield remote


def names(remote: Remote, path: str = "") -> list[str]:
    return sorted(entry.name for entry in remote.list(path))


def put(remote: Remote, path: str, data: bytes = b"x") -> None:
    remote.write(path, [data], staging="unfinished")


def test_reads_back_what_was_written(remote: Remote) -> None:
    blocks = [DATA[:1], b"", DATA[1:700_000], DATA[700_000:]]
    assert remote.write("object", blocks, staging="unfinished") == len(DATA)
    assert remote.read("object") == DATA
    assert remote.read("object", 999_000) == DATA[999_000:]
    assert remote.read("object", 5, 300_000) == DATA[5:300_005]
    assert remote.read("object", len(DATA) - 3, 100) == DATA[-3:]
    assert remote.read("object", len(DATA) + 10, 100) == b""
    assert remote.read("object", 5, 0) == b""
    assert [entry.name for entry in remote.list("")] == ["object"]


def test_an_empty_object_is_an_object(remote: Remote) -> None:
    assert remote.write("object", [], staging="unfinished") == 0
    assert remote.read("object") == b""
    assert remote.stat("object").size == 0


def test_a_large_object(remote: Remote) -> None:
    blocks = [DATA[n:] for n in range(20)]
    whole = b"".join(blocks)
    assert remote.write("object", blocks, staging="unfinished") == len(whole)
    assert remote.read("object") == whole
    assert remote.read("object", 8_000_000, 2_000_000) == whole[8_000_000:10_000_000]


@pytest.mark.parametrize("times", [1, 20], ids=["small", "large"])
def test_write_refuses_an_existing_target(remote: Remote, times: int) -> None:
    remote.write("object", [b"first"], staging="unfinished")
    with pytest.raises(ConflictError, match="object exists already"):
        remote.write("object", [DATA] * times, staging="unfinished")
    assert remote.read("object") == b"first"
    assert names(remote) == ["object"]


@pytest.mark.parametrize("times", [1, 20], ids=["small", "large"])
def test_a_write_that_fails_leaves_nothing(remote: Remote, times: int) -> None:
    def data() -> Iterator[bytes]:
        yield from [DATA] * times
        assert "object" not in names(remote)
        raise RuntimeError("source failed")

    with pytest.raises(RuntimeError, match="source failed"):
        remote.write("object", data(), staging="unfinished")
    assert names(remote) == []
    assert remote.write("object", [b"later"], staging="unfinished") == 5


def test_one_of_many_creates_an_object(remote: Remote) -> None:
    def create(number: int) -> bool:
        try:
            remote.write("object", [str(number).encode()], staging=f"unfinished-{number}")
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        created = list(threads.map(create, range(4)))
    assert created.count(True) == 1
    assert remote.read("object") == str(created.index(True)).encode()


@pytest.mark.parametrize("error", [ConnectionLost("source lost"), ValueError("source broken")])
def test_a_source_that_fails_leaves_nothing(remote: Remote, error: Exception) -> None:
    """Also if it fails as this storage node could fail: that is no reason to go on."""

    def data() -> Iterator[bytes]:
        yield b"a" * 1000
        raise error

    with pytest.raises(type(error), match="source"):
        remote.write("object", data(), staging="unfinished")
    assert remote.list("") == []
    assert remote.write("object", [b"later"], staging="unfinished") == 5


def test_writing_needs_a_directory(remote: Remote) -> None:
    if not remote.rename_is_move:
        pytest.skip("a bucket needs no directories")
    with pytest.raises(NotFoundError, match="nowhere/unfinished"):
        remote.write("object", [DATA], staging="nowhere/unfinished")
    with pytest.raises(NotFoundError, match="nowhere/object"):
        remote.write("nowhere/object", [DATA], staging="unfinished")
    assert remote.list("") == []


def test_rename_refuses_an_existing_target(remote: Remote) -> None:
    remote.write("a", [b"a"], staging="unfinished")
    remote.write("b", [b"b"], staging="unfinished")
    with pytest.raises(ConflictError, match="b exists already"):
        remote.rename("a", "b")
    assert (remote.read("a"), remote.read("b")) == (b"a", b"b")
    remote.rename("a", "c")
    assert {entry.name for entry in remote.list("")} == {"b", "c"}
    with pytest.raises(NotFoundError):
        remote.rename("a", "d")


def test_rename_of_what_is_renamed_already(remote: Remote) -> None:
    put(remote, "a")
    remote.rename("a", "b")
    with pytest.raises(NotFoundError, match=r"a .*does not exist"):
        remote.rename("a", "b")
    put(remote, "a")
    with pytest.raises(ConflictError, match="b exists already"):
        remote.rename("a", "b")


def test_rename_of_directories(remote: Remote) -> None:
    remote.mkdir("a")
    remote.mkdir("b")
    remote.write("a/object", [b"x"], staging="unfinished")
    with pytest.raises(ConflictError, match="b exists already"):
        remote.rename("a", "b")
    remote.rename("a", "c")
    assert remote.read("c/object") == b"x"
    assert remote.list("b") == []
    with pytest.raises(NotFoundError, match=r"a .*does not exist"):
        remote.rename("a", "e")


def test_directories(remote: Remote) -> None:
    remote.mkdir("a/b/c")
    remote.mkdir("a/b/c")
    assert [(entry.name, entry.is_directory) for entry in remote.list("a/b")] == [("c", True)]
    assert remote.list("a/missing") == []
    assert remote.stat("a/b").is_directory
    remote.remove("a/b/c")
    assert remote.list("a/b") == []


def test_only_so_much_is_listed(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    remote.mkdir("full")
    for name in ("one", "two", "three"):
        put(remote, f"full/{name}")
    monkeypatch.setattr(interface, "MOST_ENTRIES", 3)
    assert len(remote.list("full")) == 3
    monkeypatch.setattr(interface, "MOST_ENTRIES", 2)
    with pytest.raises(FormatError, match="/full is damaged: more than 2 objects are listed"):
        remote.list("full")
    monkeypatch.setattr(interface, "MOST_ENTRIES", 3)
    monkeypatch.setattr(interface, "LONGEST_ENTRY", 4)
    with pytest.raises(FormatError, match="a name of 5 characters is listed"):
        remote.list("full")
    assert names(remote) == ["full"]
    assert remote.read("full/three") == b"x"


def test_stat_tells_size_and_time(remote: Remote) -> None:
    before = time.time()
    remote.write("object", [b"12345"], staging="unfinished")
    entry = remote.stat("object")
    assert (entry.name, entry.size, entry.is_directory) == ("object", 5, False)
    assert before - 1.1 < entry.modified < time.time() + 0.1
    assert remote.list("") == [entry]


def test_renaming_tells_the_time_of_writing_or_of_renaming(remote: Remote) -> None:
    """The age of an export is counted from there."""
    put(remote, "a")
    written = remote.stat("a").modified
    remote.rename("a", "b")
    assert written <= remote.stat("b").modified < time.time() + 0.1


def test_a_directory_with_something_in_it_stays(remote: Remote) -> None:
    remote.mkdir("a")
    put(remote, "a/object")
    with pytest.raises(StorageError, match=r"a .*is not empty"):
        remote.remove("a")
    assert names(remote, "a") == ["object"]


def test_what_is_missing_is_named(remote: Remote) -> None:
    for operation in (remote.read, remote.stat, remote.remove):
        with pytest.raises(NotFoundError, match=r"some/object .*does not exist"):
            operation("some/object")


def test_free_space(remote: Remote, tmp_path: Path) -> None:
    if remote.url.startswith("s3"):
        assert remote.free_space() is None
        return
    status = os.statvfs(tmp_path)
    assert remote.free_space() == pytest.approx(status.f_bavail * status.f_frsize, rel=0.05)


def test_a_path_with_odd_characters(any_url: str) -> None:
    with connect(any_url + "/sub%20dir%23é") as remote:
        remote.mkdir("")
        remote.write("object", [b"x"], staging="unfinished")
    with connect(any_url) as remote:
        assert remote.read("sub dir#é/object") == b"x"
        assert names(remote) == ["sub dir#é"]


def test_a_storage_node_that_creates_exclusively(remote: Remote) -> None:
    require_exclusive_creation(remote)
    assert names(remote) == []


def test_many_threads_at_once(remote: Remote) -> None:
    barrier = threading.Barrier(6)

    def work(number: int) -> bytes:
        barrier.wait()
        for turn in range(5):
            name = f"{number}-{turn}"
            remote.write(name, [DATA[number:]], staging=f"unfinished-{number}")
        return remote.read(f"{number}-0", 100, 50)

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(work, range(6))) == [DATA[n + 100 : n + 150] for n in range(6)]
    assert len(remote.list("")) == 30
