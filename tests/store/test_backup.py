"""Copying a repository while others are at work, as ``docs/storage-node.rst`` tells."""

from __future__ import annotations

import shutil
from pathlib import Path

from devops_snapshot.remote import Remote, connect
from devops_snapshot.store import Repository, verify

from .model_world import Stored, check, export
from .turns import at_every_operation

LATER = ("exports", "leases", "revoked")


def copy_exports(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    shutil.copytree(source / "exports", target / "exports")
    shutil.copy2(source / "repository.json", target)


def copy_the_rest(source: Path, target: Path) -> None:
    for path in source.iterdir():
        if path.is_dir() and path.name not in LATER:
            shutil.copytree(path, target / path.name, dirs_exist_ok=True)


def test_a_copy_is_a_repository_with_all_that_was_there_before(
    repository: Repository, remote: Remote, directory: Path, tmp_path: Path
) -> None:
    """Whenever it begins, also in the middle of an export that is complete when it ends."""
    copy = tmp_path / "copy"
    stored: dict[str, Stored] = {}
    export(remote, [(1, 2)], stored)
    for interrupted in at_every_operation(remote, lambda: copy_exports(directory, copy)):
        export(interrupted, [(1, 3), (4,)], stored)
        before = {path.stem for path in (copy / "exports").iterdir() if path.suffix == ".json"}
        copy_the_rest(directory, copy)
        with connect(f"file://{copy}") as copied:
            there = {entry.id for entry in Repository.open(copied).exports()}
            assert before == there
            assert verify(Repository.open(copied), read_data=True).findings == []
            for export_id in there:
                check(copied, export_id, stored[export_id])
