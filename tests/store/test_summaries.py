"""Listings read few objects, however many exports there are, and show what is there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devops_snapshot.errors import StorageError
from devops_snapshot.remote import Remote, connect
from devops_snapshot.store import Repository, delete_export, undelete_export
from devops_snapshot.store.exports import catalogue
from devops_snapshot.store.exports.summaries import (
    SUMMARIES,
    decode_summary,
    encode_summary,
    load_summary,
    merge_summaries,
)

from .merges import fail_after, merging
from .place import objects, opened

MANY = 8


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few exports are many."""
    monkeypatch.setattr(catalogue, "MANY", MANY)
    monkeypatch.setattr(catalogue, "_FEW", 2)


def publish(repository: Repository, number: int) -> list[str]:
    ids = []
    for _ in range(number):
        with repository.writing() as session:
            session.publish(b"m" * 10_000, {"environment": "env ✓"})
            ids.append(session.export_id)
    return ids


class Reads:
    """Counts reads of a remote by directory."""

    def __init__(self, remote: Remote, patch: pytest.MonkeyPatch) -> None:
        self.paths: list[str] = []
        self._read = remote.read
        patch.setattr(remote, "read", self._note)

    def _note(self, path: str, *arguments: int) -> bytes:
        self.paths.append(path)
        return self._read(path, *arguments)

    def take(self) -> tuple[int, int]:
        """Return how many exports and summaries were read since last time."""
        kinds = [path.partition("/")[0] for path in self.paths]
        self.paths.clear()
        return kinds.count("exports"), kinds.count("summaries")


@contextmanager
def stranger(
    directory: Path, tmp_path: Path, patch: pytest.MonkeyPatch
) -> Iterator[tuple[Repository, Reads]]:
    """A client that has not been here before."""
    number = len(list(tmp_path.glob("stranger-*")))
    (tmp_path / f"stranger-{number}").mkdir()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path / f"stranger-{number}"))
    with connect(f"file://{directory}") as remote:
        repository = Repository.open(remote)
        yield repository, Reads(remote, patch)


def test_few_objects_are_read(
    repository: Repository, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = publish(repository, 2 * MANY + 1)
    assert len(objects(directory, "summaries")) == 2
    with stranger(directory, tmp_path, monkeypatch) as (other, reads):
        entries = other.exports()
        assert reads.take() == (1, 2)
        assert sorted(entry.id for entry in entries) == sorted(ids)
        assert other.exports() == entries
        assert reads.take() == (0, 0)
        ids += publish(repository, 2)
        assert sorted(entry.id for entry in other.exports()) == sorted(ids)
        assert reads.take() == (2, 0)


def test_the_live_listing_decides(
    repository: Repository, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = publish(repository, MANY)
    assert objects(directory, "summaries")
    delete_export(repository, ids[3])
    with stranger(directory, tmp_path, monkeypatch) as (other, reads):
        assert ids[3] not in {entry.id for entry in other.exports()}
        assert reads.take() == (0, 1)
        undelete_export(repository, ids[3])
        delete_export(repository, ids[0])
        assert {entry.id for entry in other.exports()} == set(ids[1:])


def test_the_time_is_that_of_the_listing(repository: Repository, directory: Path) -> None:
    ids = publish(repository, MANY)
    for entry in repository.exports():
        status = (directory / "exports" / f"{entry.id}.json").stat()
        assert abs(entry.stored.timestamp() - status.st_mtime) < 1.0  # SFTP tells seconds
    assert len(repository.exports()) == len(ids)


@pytest.mark.parametrize("harm", ["flip", "cut", "lie"])
def test_damaged_summaries_cost_time_only(
    tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "repository"
    with opened(directory) as repository:
        ids = publish(repository, MANY)
    (path,) = objects(directory, "summaries")
    content = path.read_bytes()
    if harm == "lie":
        lines = decode_summary(content, "test")
        path.write_bytes(encode_summary(line.replace(b"env", b"vne") for line in lines.values()))
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes(flipped if harm == "flip" else content[:-1])
    with (
        stranger(directory, tmp_path, monkeypatch) as (other, reads),
        caplog.at_level(logging.WARNING),
    ):
        entries = other.exports()
        assert reads.take()[0] == MANY
        assert [entry.summary for entry in entries] == [{"environment": "env ✓"}] * MANY
        assert sorted(entry.id for entry in entries) == sorted(ids)
    assert (path.name in caplog.text) is (harm != "lie")


def test_damaged_notes_are_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "repository") as repository:
        ids = publish(repository, 3)
        entries = repository.exports()
        notes = repository.cache.notes
        notes.put("export", {ids[0]: b"{}\n", ids[1]: notes.all("export")[ids[2]]})
        reads = Reads(repository.remote, monkeypatch)
        assert repository.exports() == entries
        assert reads.take() == (2, 0)
        assert repository.exports() == entries
        assert reads.take() == (0, 0)


def test_merging_makes_one_of_many_and_drops_what_is_gone(
    repository: Repository, directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = publish(repository, 3 * MANY)
    delete_export(repository, ids[0])
    (directory / "exports" / f"{ids[1]}.json").unlink()
    with merging(repository) as lease:
        merge_summaries(lease, repository.remote)
    (path,) = objects(directory, "summaries")
    told = load_summary(repository.remote, path.name)
    assert told
    assert told.keys() == set(ids) - {ids[1]}  # the first can be undeleted
    with stranger(directory, tmp_path, monkeypatch) as (other, reads):
        assert {entry.id for entry in other.exports()} == set(ids[2:])
        assert reads.take() == (0, 1)
    with merging(repository) as lease:
        merge_summaries(lease, repository.remote)
    assert objects(directory, "summaries") == [path]  # nothing more to merge


def test_large_summaries_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devops_snapshot.store.exports.summaries._SMALL", 3000)
    monkeypatch.setattr("devops_snapshot.store.exports.summaries._FULL", 4500)
    with opened(tmp_path / "repository") as repository:
        ids = publish(repository, 3 * MANY)
        for _ in range(3):
            with merging(repository) as lease:
                merge_summaries(lease, repository.remote)
            paths = objects(tmp_path / "repository", "summaries")
            told = [decode_summary(path.read_bytes(), "test") for path in paths]
            assert 1 < len(paths) <= 4
            assert all(sum(map(len, lines.values())) <= 4500 for lines in told)
            assert sorted(export_id for lines in told for export_id in lines) == sorted(ids)


def test_two_may_merge_at_once(repository: Repository, directory: Path) -> None:
    ids = publish(repository, 4 * MANY)

    def merge() -> None:
        with merging(repository) as lease:
            merge_summaries(lease, repository.remote)

    threads = [threading.Thread(target=merge) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [load_summary(repository.remote, path.name) for path in objects(directory, SUMMARIES)]
    assert {export_id for lines in found for export_id in lines or ()} == set(ids)


@pytest.mark.parametrize("operation", ["write", "remove"])
def test_a_merge_may_be_cut_off_anywhere(
    tmp_path: Path, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "repository"
    with opened(directory) as repository:
        ids = publish(repository, 3 * MANY)
        for calls in range(5):
            with merging(repository) as lease, monkeypatch.context() as patch:
                fail_after(calls, patch, repository.remote, operation, SUMMARIES)
                try:
                    merge_summaries(lease, repository.remote)
                except StorageError:
                    assert calls < 3
            with stranger(directory, tmp_path, monkeypatch) as (other, reads):
                assert {entry.id for entry in other.exports()} == set(ids)
                assert reads.take()[0] == 0
        assert len(objects(directory, "summaries")) == 1


def test_an_export_does_not_fail_because_of_summaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise StorageError("no")

    with opened(tmp_path / "repository") as repository:
        publish(repository, MANY - 1)
        monkeypatch.setattr(catalogue, "write_summary", failing)
        publish(repository, 1)
        assert len(repository.exports()) == MANY
