"""What a storage administrator is told of a repository."""

from __future__ import annotations

import os
import time
from pathlib import Path

from devops_snapshot.store import FileSource, LayerKind, Repository, status
from devops_snapshot.store.format.sealed import seal, unseal

from .place import CHUNK, make_file, noise, objects
from .saved_memory import PAGE, RAM, pages, saved

GIB = 1 << 30


def export(
    repository: Repository, *files: Path, kind: LayerKind = LayerKind.OVERLAY, sealed: bool = False
) -> str:
    """Export files as they are exported in earnest: their size with holes is told as well."""
    with repository.writing() as session:
        for file in files:
            with FileSource.open(file) as source:
                session.add_layer(source, kind=kind, sealed=sealed)
        session.publish(b"{}", {"size": sum(file.stat().st_size for file in files)})
        return session.export_id


def test_holes_are_no_data(repository: Repository, tmp_path: Path) -> None:
    sparse = make_file(tmp_path / "sparse", GIB, {0: noise(3 * CHUNK), GIB // 2: bytes(CHUNK)})
    then = time.time() - 60
    os.utime(sparse, (then, then))
    for number in (1, 2, 3):  # the later ones do not read it
        export(repository, sparse, sealed=True)
        found = status(repository)
        assert 3 * CHUNK * number <= found.logical <= 4 * CHUNK * number
    assert found.ratio is not None
    assert 2.5 < found.ratio < 4
    assert repository.exports()[-1].summary["size"] == GIB


def test_pages_of_zeros_are_no_data(repository: Repository, tmp_path: Path) -> None:
    ram = {number: noise(PAGE, number) for number in range(RAM // PAGE)}
    memory = tmp_path / "memory"
    memory.write_bytes(saved({"pc.ram": 64 * RAM}, [pages(ram, size=64 * RAM)]))
    export(repository, memory, kind=LayerKind.MEMORY)
    assert RAM <= status(repository).logical < memory.stat().st_size < 1.2 * RAM


def test_exports_of_earlier_releases_are_taken_by_their_size(
    repository: Repository, tmp_path: Path, directory: Path
) -> None:
    """They do not tell of their data."""
    export(repository, make_file(tmp_path / "sparse", GIB, {0: noise(CHUNK)}))
    (path,) = objects(directory, "exports")
    head, body = unseal("export", path.read_bytes(), "this")
    earlier = {name: head[name] for name in head if name in ("features", "export", "published")}
    path.write_bytes(
        seal("export", {**earlier, "layers": head["layers"], "summary": head["summary"]}, body)
    )
    assert status(Repository.open(repository.remote)).logical == GIB
