"""Finding exports."""

from __future__ import annotations

import logging
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from devops_snapshot.errors import ConflictError, NotFoundError
from devops_snapshot.remote import Remote, connect
from devops_snapshot.store import ExportEntry, Repository
from devops_snapshot.store.exports import catalogue

from .place import export, objects, opened


def publish(repository: Repository, name: str) -> str:
    with repository.writing() as session:
        session.publish(name.encode(), {"name": name, "nodes": ["admin", "slave-01 ✓"]})
        return session.export_id


def test_exports_are_listed_oldest_first(repository: Repository) -> None:
    assert repository.exports() == []
    before = datetime.now(timezone.utc)
    ids = [publish(repository, name) for name in ("c", "a", "b")]
    after = datetime.now(timezone.utc)
    entries = repository.exports()
    assert [entry.id for entry in entries] == ids
    assert [entry.summary["name"] for entry in entries] == ["c", "a", "b"]
    assert entries[0].summary["nodes"] == ["admin", "slave-01 ✓"]
    times = [entry.published for entry in entries]
    assert times == sorted(times)
    assert all(before <= moment <= after for moment in times)
    assert all(moment.utcoffset() == timedelta(0) for moment in times)
    assert repository.exports() == entries  # the second time from the cache


def test_ids_can_be_typed_and_sorted(repository: Repository) -> None:
    started = datetime.now(timezone.utc).replace(microsecond=0)
    export_id = publish(repository, "a")
    stamp, _, number = export_id.partition("-")
    moment = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    assert started <= moment <= datetime.now(timezone.utc)
    assert len(number) == 8
    assert int(number, 16) >= 0


@pytest.mark.parametrize(
    "unknown", ["", "latest", "../repository", "20261122T141503Z-5f2a9c01", "20261122T141503Z"]
)
def test_only_exact_ids_are_accepted(repository: Repository, unknown: str) -> None:
    export_id = publish(repository, "a")
    for given in (unknown, export_id[:-1], export_id + " ", export_id.upper() + "x"):
        with pytest.raises(NotFoundError, match="There is no export"):
            repository.manifest(given)
        with pytest.raises(NotFoundError, match="There is no export"), repository.reading(given):
            pass
    assert repository.manifest(export_id) == b"a"


def test_what_is_cached_but_deleted_is_not_listed(repository: Repository, directory: Path) -> None:
    publish(repository, "a")
    export_id = publish(repository, "b")
    assert len(repository.exports()) == 2
    (directory / "exports" / f"{export_id}.json").unlink()
    assert [entry.summary["name"] for entry in repository.exports()] == ["a"]


def test_a_damaged_export_is_named_and_hides_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path / "repository") as repository:
        good, bad = publish(repository, "good"), publish(repository, "bad")
        (tmp_path / "repository" / "exports" / "README").write_text("not an export")
        path = tmp_path / "repository" / "exports" / f"{bad}.json"
        path.write_bytes(path.read_bytes().replace(b"admin", b"nimda"))
        with caplog.at_level(logging.WARNING):
            assert [entry.id for entry in repository.exports()] == [good]
    assert f"{bad}.json is damaged" in caplog.text


@pytest.mark.parametrize("change", [-1, -3, 1], ids=str)
@pytest.mark.parametrize("known", ["by this client", "by a summary", "by nobody"])
def test_an_export_of_another_size_is_named(
    repository: Repository,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    known: str,
    change: int,
) -> None:
    """Its first line is sound, and only that is read."""
    monkeypatch.setattr(catalogue, "MANY", 2)
    monkeypatch.setattr(catalogue, "_FEW", 0)
    good, bad = publish(repository, "good"), publish(repository, "bad")
    assert len(objects(directory, "summaries")) == 1
    if known == "by this client":
        assert len(repository.exports()) == 2
    elif known == "by nobody":
        shutil.rmtree(directory / "summaries")
    path = directory / f"exports/{bad}.json"
    content = path.read_bytes()
    path.write_bytes((content + b"x")[: len(content) + change])
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert [entry.id for entry in repository.exports()] == [good]
        assert (
            f"{bad}.json is damaged: it has {len(content) + change} bytes instead of {len(content)}"
            in caplog.text
        )
    path.write_bytes(content)
    assert [entry.id for entry in repository.exports()] == [good, bad]


def test_a_long_summary_is_listed(tmp_path: Path) -> None:
    with opened(tmp_path / "repository") as repository, repository.writing() as session:
        session.publish(b"m" * 100_000, {"text": "x" * 50_000})
    with opened(tmp_path / "repository") as repository:
        (entry,) = repository.exports()
    assert isinstance(entry, ExportEntry)
    assert entry.summary == {"text": "x" * 50_000}


def test_a_repository_is_made_once(remote: Remote) -> None:
    with pytest.raises(NotFoundError, match=f"There is no repository at {remote.url}"):
        Repository.open(remote)
    first = Repository.open(remote, create=True)
    with pytest.raises(ConflictError, match=f"There is a repository at {remote.url} already"):
        Repository.initialise(remote)
    assert Repository.open(remote, create=True).id == first.id == Repository.open(remote).id
    assert [entry.name for entry in remote.list("") if not entry.is_directory] == [
        "repository.json"
    ]


def test_a_repository_is_made_where_there_is_no_directory(tmp_path: Path) -> None:
    with connect(f"file://{tmp_path}/a/b/c") as remote:
        repository = Repository.open(remote, create=True)
        assert repository.exports() == []


def test_leases_are_held_and_released(repository: Repository, directory: Path) -> None:
    export_id, _, _ = export(repository)
    with repository.writing(), repository.reading(export_id):
        leases = list(directory.glob("leases/*/lease.json"))
        assert len(leases) == 2
        described = "".join(path.read_text() for path in leases)
        assert '"purpose":"export"' in described
        assert f'"purpose":"import","export":"{export_id}"' in described
    assert list((directory / "leases").iterdir()) == []
