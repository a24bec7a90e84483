"""Copying a repository while others are at work, as ``docs/storage-node.rst`` tells."""

from __future__ import annotations

import shutil
from pathlib import Path

from devops_snapshot.remote import Remote, connect
from devops_snapshot.store import Repository, verify

from . import model_world
from .model_world import Stored, check
from .place import CHUNK, export, make_file, noise, opened, restore
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
    model_world.export(remote, [(1, 2)], stored)
    for interrupted in at_every_operation(remote, lambda: copy_exports(directory, copy)):
        model_world.export(interrupted, [(1, 3), (4,)], stored)
        before = {path.stem for path in (copy / "exports").iterdir() if path.suffix == ".json"}
        copy_the_rest(directory, copy)
        with connect(f"file://{copy}") as copied:
            there = {entry.id for entry in Repository.open(copied).exports()}
            assert before == there
            assert verify(Repository.open(copied), read_data=True).findings == []
            for export_id in there:
                check(copied, export_id, stored[export_id])


def test_a_repository_that_was_restored_from_an_older_copy(
    repository: Repository, directory: Path, tmp_path: Path
) -> None:
    """Clients remember what is not there any more, and send it again."""
    older, newer = (
        make_file(tmp_path / name, 32 * CHUNK, {0: noise(32 * CHUNK, seed)})
        for seed, name in enumerate(("older", "newer"))
    )
    export(repository, older)
    copy_exports(directory, tmp_path / "copy")
    copy_the_rest(directory, tmp_path / "copy")
    lost, layers, _ = export(repository, older, newer)
    shutil.copytree(tmp_path / "copy", tmp_path / "restored")
    with opened(tmp_path / "restored") as restored:
        export_id, again, _ = export(restored, older, newer)
        assert again == layers
        assert lost not in {entry.id for entry in restored.exports()}
        assert verify(restored, read_data=True).findings == []
        with restored.reading(export_id) as session:
            for layer, file in zip(again, (older, newer), strict=True):
                target = restore(session, layer, tmp_path / "target")
                assert target.read_bytes() == file.read_bytes()
                target.unlink()
