"""Ten exporters, two importers, a deletion and a collection at the same time on one repository."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.pool import AsyncResult
from pathlib import Path
from typing import Any

from devops_snapshot.errors import ConflictError
from devops_snapshot.remote import connect
from devops_snapshot.store import (
    FileSource,
    LayerId,
    LayerKind,
    Repository,
    collect,
    delete_export,
    verify,
)
from devops_snapshot.store.format.hashing import digest

from .place import CHUNK, export, make_file, noise, objects, packed_chunks

EXPORTERS, IMPORTERS, TURNS = 10, 2, 3
BASE, SHARED, OWN = 64 * CHUNK, 16 * CHUNK, 16 * CHUNK
WORK_SECONDS = 120


def take_environment(variables: dict[str, str]) -> None:
    """The server of processes was started by another test, with another HOME."""
    os.environ.update(variables)


def export_one(url: str, base: Path, own: Path, cache: str) -> tuple[str, list[LayerId]]:
    """Export the base image and an overlay, as one host of many does."""
    os.environ["XDG_CACHE_HOME"] = cache
    with connect(url) as remote, Repository.open(remote).writing() as session:
        layers = []
        for path, kind in ((base, LayerKind.BASE), (own, LayerKind.OVERLAY)):
            with FileSource.open(path) as source:
                layers.append(session.add_layer(source, kind=kind))
        session.publish(b"{}", {"environment": own.name})
        return session.export_id, layers


def import_often(url: str, export_id: str, layer: LayerId, expected: Path) -> int:
    """Import the same export again and again; return how often."""
    content = expected.read_bytes()
    for _ in range(TURNS):
        with connect(url) as remote, Repository.open(remote).reading(export_id) as session:
            reader = session.layer(layer)
            assert reader.pread(0, reader.size) == content
    return TURNS


def delete_one(url: str, export_id: str) -> None:
    with connect(url) as remote:
        delete_export(Repository.open(remote), export_id)


def collect_often(url: str) -> int:
    """Collect again and again; return the bytes that came free."""
    freed = 0
    for _ in range(TURNS):
        with connect(url) as remote, suppress(ConflictError):
            freed += collect(Repository.open(remote)).freed
    return freed


def test_many_at_once(repository: Repository, url: str, directory: Path, tmp_path: Path) -> None:
    base = make_file(tmp_path / "base", BASE, {0: noise(BASE)})
    doomed = make_file(tmp_path / "doomed", OWN, {0: noise(OWN, seed=99)})
    kept, (base_layer,), _ = export(repository, base)
    deleted, _, _ = export(repository, doomed)
    own = [
        make_file(
            tmp_path / f"own-{n}", SHARED + OWN, {0: noise(SHARED, 50), SHARED: noise(OWN, n)}
        )
        for n in range(EXPORTERS)
    ]
    processes = multiprocessing.get_context("forkserver").Pool(
        EXPORTERS + IMPORTERS + 2, initializer=take_environment, initargs=(dict(os.environ),)
    )
    with processes as pool:

        def begin(work: Callable[..., object], *arguments: object) -> AsyncResult[object]:
            return pool.apply_async(work, (url, *arguments))

        exporting = [
            begin(export_one, base, path, str(tmp_path / f"cache-{path.name}")) for path in own
        ]
        importing = [begin(import_often, kept, base_layer, base) for _ in range(IMPORTERS)]
        others = [begin(delete_one, deleted), begin(collect_often)]
        exports = [result.get(WORK_SECONDS) for result in exporting]
        for result in (*importing, *others):
            result.get(WORK_SECONDS)
    collect(repository)
    check_nothing_is_lost(repository, {base: base_layer}, own, exports)
    check_nothing_is_doubled(directory, base, own)
    assert objects(directory, "leases", "revoked", "condemned", "deleted") == []


def check_nothing_is_lost(
    repository: Repository, earlier: dict[Path, LayerId], own: list[Path], exports: list[Any]
) -> None:
    assert verify(repository, read_data=True).findings == []
    assert len(repository.exports()) == 1 + EXPORTERS
    for path, (export_id, layers) in zip(own, exports, strict=True):
        with repository.reading(export_id) as session:
            for layer, expected in zip(layers, (*earlier, path), strict=True):
                reader = session.layer(layer)
                assert reader.pread(0, reader.size) == expected.read_bytes()


def check_nothing_is_doubled(directory: Path, base: Path, own: list[Path]) -> None:
    """What was there before is sent by nobody; each sends its own; what is new to several may be
    sent by each of them, for they began at the same time."""
    packed = packed_chunks(directory)
    assert {packed[chunk] for chunk in chunks(base.read_bytes())} == {1}
    for path in own:
        content = path.read_bytes()
        assert {packed[chunk] for chunk in chunks(content[SHARED:])} == {1}
        assert all(1 <= packed[chunk] <= EXPORTERS for chunk in chunks(content[:SHARED]))
    assert chunks(noise(OWN, seed=99))[0] not in packed, "the deleted export's chunks are gone"


def chunks(data: bytes) -> list[bytes]:
    return [digest(data[start : start + CHUNK]) for start in range(0, len(data), CHUNK)]
