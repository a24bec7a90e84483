"""Packs that are mostly dead are written anew, and all exports stay what they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from devops_snapshot.remote import Remote
from devops_snapshot.store import (
    LayerKind,
    Repository,
    collect,
    delete_export,
    plan_prune,
    prune,
)
from devops_snapshot.store.collection.copied_pack import Chunk, CopiedPack
from devops_snapshot.store.dedup.pack_indexes import PackIndexes
from devops_snapshot.store.format.pack import PACK_SIZE

from .model_world import Chunks, Stored, age, at_once, check, export
from .place import CHUNK, objects


def size(directory: Path) -> int:
    return sum(path.stat().st_size for path in objects(directory, "packs"))


def layers(directory: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in objects(directory, "layers")}


def test_a_life_of_a_repository(repository: Repository, remote: Remote, directory: Path) -> None:
    """Exported, expired, pruned, collected: what stays is the same, and room comes free."""
    stored: dict[str, Stored] = {}
    old = [
        export(remote, [tuple(range(number * 50, number * 50 + 50))], stored) for number in range(3)
    ]
    kept = [
        export(remote, [tuple(range(0, 60, 7)), tuple(range(55, 75))], stored),
        export(remote, [tuple(range(40, 130, 11)), tuple(range(200, 220))], stored),
    ]
    for export_id in old:
        age(directory / "exports" / f"{export_id}.json", 8 * 86400)
    before = size(directory)
    plan = plan_prune(repository)
    assert prune(repository, plan) == sorted(
        old, key=[item.entry.id for item in plan.expired].index
    )
    names = layers(directory)
    foreseen = collect(repository, dry_run=True)
    report = collect(repository, sleep=at_once)
    assert (report.repacked, foreseen.repacked) == (3, 3)
    assert 0 < report.copied < before / 2
    assert size(directory) < before * 2 / 3
    assert layers(directory) < names
    for export_id in kept:
        check(remote, export_id, stored[export_id])
        check(remote, export_id, stored[export_id])
    again = collect(repository, sleep=at_once)
    assert (again.repacked, again.packs, again.layers) == (0, 0, 0)
    once_more = export(remote, [content for _, content in stored[kept[0]].layers], stored)
    assert layers(directory) < names
    check(remote, once_more, stored[once_more])


def test_kinds_stay_apart(repository: Repository, remote: Remote, directory: Path) -> None:
    for kind in (LayerKind.BASE, LayerKind.MEMORY):
        numbers = range(kind.value * 100, kind.value * 100 + 20)
        with repository.writing() as session:
            session.add_layer(Chunks(tuple(numbers)), kind=kind)
            session.publish(b"", {})
        delete_export(repository, session.export_id)
        with repository.writing() as session:
            session.add_layer(Chunks(tuple(numbers[:3])), kind=kind)
            session.publish(b"", {})
    assert collect(repository, sleep=at_once).repacked == 2
    indexes = PackIndexes(remote, repository.cache)
    kinds = [indexes.load(path.name).kind for path in objects(directory, "packs")]
    assert sorted(kinds) == [0, 0, 2, 2]


def test_packs_of_those_at_work_are_left_alone(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    """What they have sent is not needed by any export yet."""
    with repository.writing() as session:
        layer = session.add_layer(Chunks(tuple(range(10))), kind=LayerKind.OVERLAY)
        session._packs.finish()
        export(remote, [tuple(range(3))], {})
        assert collect(repository, sleep=at_once).repacked == 0
        session.publish(b"", {})
    check(remote, session.export_id, Stored([(layer, tuple(range(10)))]))


def test_what_is_damaged_stays_where_it_is(
    repository: Repository, remote: Remote, directory: Path
) -> None:
    stored: dict[str, Stored] = {}
    old = export(remote, [tuple(range(100))], stored)
    (pack,) = objects(directory, "packs")
    kept = export(remote, [tuple(range(3)), tuple(range(90, 93))], stored)
    delete_export(repository, old)
    data = bytearray(pack.read_bytes())
    data[PackIndexes(remote, repository.cache).load(pack.name).frames[-3].offset + 40] ^= 1
    pack.write_bytes(data)
    collect(repository, sleep=at_once)
    first, _ = stored[kept].layers
    check(remote, kept, Stored([first]))
    assert pack.exists()  # for the layer that needs its damaged part


def test_a_full_storage_node_is_not_repacked(
    repository: Repository, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: dict[str, Stored] = {}
    old = export(remote, [tuple(range(100))], stored)
    kept = export(remote, [tuple(range(3))], stored)
    delete_export(repository, old)
    monkeypatch.setattr(remote, "free_space", lambda: 100)
    assert collect(repository, sleep=at_once).repacked == 0
    check(remote, kept, stored[kept])


def test_packs_are_filled_and_not_more() -> None:
    data = os.urandom(1500 * CHUNK)
    pieces = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    chunks = iter([Chunk("some", number, bytes(32), piece) for number, piece in enumerate(pieces)])
    first, second = (sum(map(len, CopiedPack(1).blocks("name", chunks))) for _ in range(2))
    assert PACK_SIZE - 3 * 2**20 < first <= PACK_SIZE
    assert first + second > len(data)
