"""The cache is bounded, shared by processes, and its loss or damage costs time only."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from devops_snapshot.store.cache import Cache
from devops_snapshot.store.notes import Notes


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes.sqlite3")


def test_objects_are_kept_until_forgotten() -> None:
    cache = Cache("id")
    assert cache.get("packs/ab/x") is None
    cache.put("packs/ab/x", b"1")
    cache.put("samples/y", b"2")
    again = Cache("id")
    assert again.get("packs/ab/x") == b"1"
    file = again.file("samples/y")
    assert file
    assert file.read_bytes() == b"2"
    assert again.names("packs") == {"packs/ab/x"}
    assert again.names("") == {"packs/ab/x", "samples/y"}
    again.forget("packs/ab/x")
    assert cache.get("packs/ab/x") is None
    assert Cache("other").names("") == set()


def test_what_was_not_used_for_longest_goes_first() -> None:
    cache = Cache("id")
    cache.notes.put("kind", {"note": b"stays"})
    for age, name in enumerate("abcd"):
        cache.put(name, bytes(1000))
        moment = time.time() - 1000 + age
        os.utime(cache.directory / name, (moment, moment))
    assert cache.get("a")  # used, so b is the oldest now
    cache.trim(limit=2500)
    assert cache.names("") == {"a", "d"}
    assert cache.notes.all("kind") == {"note": b"stays"}


def test_it_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devops_snapshot.store.cache.LIMIT", 100_000)
    monkeypatch.setattr("devops_snapshot.store.cache._TRIM_EVERY", 10_000)
    monkeypatch.setattr(Cache.trim, "__defaults__", (100_000,))
    cache = Cache("id")
    for number in range(400):
        cache.put(f"packs/{number}", bytes(1000))
    assert len(cache.names("")) < 250  # by chance: 100 and mostly some 10 more


def test_what_killed_processes_have_left_is_removed() -> None:
    cache = Cache("id")
    cache.put("packs/a", b"")
    for name, age in (("old", 2 * 24 * 3600), ("new", 60)):
        leftover = cache.directory / "packs" / f".unfinished-{name}"
        leftover.touch()
        moment = time.time() - age
        os.utime(leftover, (moment, moment))
    cache.trim()
    assert [path.name for path in cache.directory.glob("packs/.*")] == [".unfinished-new"]


def test_notes_are_kept_by_kind(notes: Notes) -> None:
    assert notes.all("a") == {}
    notes.put("a", {"x": b"1", "y": b"2"})
    notes.put("b", {"x": b"3"})
    notes.put("a", {"x": b"4"})
    assert notes.all("a") == {"x": b"4", "y": b"2"}
    assert notes.names("a") == {"x", "y"}
    assert notes.all("b") == {"x": b"3"}
    notes.forget("a", ["x", "unknown"])
    assert notes.all("a") == {"y": b"2"}


@pytest.mark.parametrize("harm", ["overwritten", "no database", "a page"])
def test_damaged_notes_are_thrown_away(notes: Notes, tmp_path: Path, harm: str) -> None:
    path = tmp_path / "notes.sqlite3"
    notes.put("a", {str(number): os.urandom(1000) for number in range(100)})
    content = bytearray(path.read_bytes())
    if harm == "a page":
        content[4096:20480] = os.urandom(16384)
    else:
        content[:100] = (b"SQLite format 3\0" if harm == "overwritten" else b"?").ljust(
            100, b"\xff"
        )
    path.write_bytes(content)
    notes.all("a")
    notes.put("a", {"x": b"1"})
    assert notes.all("a")["x"] == b"1"


@pytest.mark.parametrize("place", ["file/notes", "directory"])
def test_notes_that_cannot_be_written_are_forgiven(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    notes = Notes(tmp_path / place)
    notes.put("a", {"x": b"1"})
    notes.forget("a", ["x"])
    assert notes.all("a") == {}
    assert notes.names("a") == set()


def write_many(path: Path, kind: str) -> None:
    notes = Notes(path)
    for number in range(100):
        notes.put(kind, {str(number): b"x" * 500})


def test_several_processes_write_at_once(notes: Notes, tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=write_many, args=(tmp_path / "notes.sqlite3", kind)) for kind in "abcd"
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert all(len(notes.all(kind)) == 100 for kind in "abcd")
