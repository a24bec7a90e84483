"""Directories on NFS and CephFS, and what other clients do in them at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from devops_snapshot.errors import ConflictError, NotFoundError
from devops_snapshot.remote.local import LocalRemote

link = os.link
rename = os.rename


@pytest.fixture
def remote(tmp_path: Path) -> LocalRemote:
    """With an object that waits to be published."""
    remote = LocalRemote(tmp_path)
    for directory in ("leases/L", "revoked", "exports"):
        remote.mkdir(directory)
    (tmp_path / "leases/L/manifest").write_bytes(b"data")
    return remote


def linking(monkeypatch: pytest.MonkeyPatch, instead: Callable[[Path, Path], None]) -> None:
    monkeypatch.setattr(os, "link", instead)


def test_a_directory_that_is_taken_away_after_publishing(
    remote: LocalRemote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link_and_revoke(source: Path, target: Path) -> None:
        link(source, target)
        (tmp_path / "leases/L").rename(tmp_path / "revoked/L")

    linking(monkeypatch, link_and_revoke)
    remote.rename("leases/L/manifest", "exports/E.json")
    assert remote.read("exports/E.json") == b"data"


def test_a_directory_that_is_taken_away_before_publishing(
    remote: LocalRemote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def revoke_and_link(source: Path, target: Path) -> None:
        (tmp_path / "leases/L").rename(tmp_path / "revoked/L")
        link(source, target)

    linking(monkeypatch, revoke_and_link)
    with pytest.raises(NotFoundError, match="leases/L/manifest does not exist"):
        remote.rename("leases/L/manifest", "exports/E.json")
    assert remote.list("exports") == []


def test_a_request_that_nfs_carried_out_twice(
    remote: LocalRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    linking(monkeypatch, link_twice)
    remote.rename("leases/L/manifest", "exports/E.json")
    assert [entry.name for entry in remote.list("exports")] == ["E.json"]
    assert remote.list("leases/L") == []
    remote.write("exports/F.json", [b"x"], staging="leases/L/unfinished")
    with pytest.raises(ConflictError, match=r"F\.json exists already"):
        remote.write("exports/F.json", [b"x"], staging="leases/L/unfinished")
    assert remote.list("leases/L") == []


def test_a_directory_that_nfs_renamed_twice(
    remote: LocalRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rename_twice(source: Path, target: Path) -> None:
        rename(source, target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_twice)
    remote.revoke("leases/L", "revoked/L")
    assert remote.read("revoked/L/manifest") == b"data"


def test_who_stood_still_in_a_rename_takes_no_last_name_away(
    remote: LocalRemote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who took the client for dead has completed the rename and undone it."""

    def link_and_sleep(source: Path, target: Path) -> None:
        link(source, target)
        source.unlink()
        rename(target, source)

    linking(monkeypatch, link_and_sleep)
    with pytest.raises(NotFoundError, match=r"exports/E\.json does not exist"):
        remote.rename("leases/L/manifest", "exports/E.json")
    assert remote.read("leases/L/manifest") == b"data"


def test_what_is_removed_as_soon_as_it_is_there_was_written(
    remote: LocalRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link_and_remove(source: Path, target: Path) -> None:
        link(source, target)
        target.unlink()

    linking(monkeypatch, link_and_remove)
    assert remote.write("exports/E.json", [b"x"], staging="leases/L/unfinished") == 1
    assert [entry.name for entry in remote.list("leases/L")] == ["manifest"]


def test_a_rename_that_was_cut_short_is_completed(remote: LocalRemote, tmp_path: Path) -> None:
    os.link(tmp_path / "leases/L/manifest", tmp_path / "exports/E.json")
    remote.rename("leases/L/manifest", "exports/E.json")
    assert remote.list("leases/L") == []
    assert remote.read("exports/E.json") == b"data"
