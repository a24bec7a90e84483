"""Which chunks are used is known in little memory."""

from __future__ import annotations

import random
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devops_snapshot.remote import Remote
from devops_snapshot.store import Repository
from devops_snapshot.store.collection.inventory import list_pack_sizes
from devops_snapshot.store.collection.mark import Marker
from devops_snapshot.store.collection.usage import PackShares, Usage
from devops_snapshot.store.dedup.chunk_table import Place
from devops_snapshot.store.format.layer import Layer
from devops_snapshot.store.format.runs import Runs

from .model_world import export

CHUNKS_OF_PACK = 1000


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A local directory: what is measured here is memory."""
    return f"file://{tmp_path / 'storage'}"


def layer(places: list[tuple[int, int]], packs: int) -> Layer:
    """A layer whose chunks lie at (pack, chunk)."""
    runs = Runs()
    for number, place in enumerate(places):
        runs.append(number, Place(*place))
    return Layer(
        size=len(places) * 65536,
        segments=b"",
        packs=[f"{number:032x}-0" for number in range(packs)],
        chunk_runs=runs,
        segment_runs=Runs(),
    )


@pytest.mark.parametrize("seed", range(20))
def test_bits_are_what_a_set_would_be(seed: int) -> None:
    chance = random.Random(seed)
    usage, expected = Usage(), set()
    for _ in range(5):
        places = []
        for _ in range(chance.randrange(1, 20)):
            start, pack = chance.randrange(200), chance.randrange(3)
            places += [(pack, start + step) for step in range(chance.randrange(1, 50))]
        usage.add(layer(places, 3))
        expected |= set(places)
    for pack in range(3):
        name = f"{pack:032x}-0"
        used = {chunk for number, chunk in expected if number == pack}
        assert usage.used(name) == len(used)
        assert {chunk for chunk in range(300) if usage.is_used(name, chunk)} == used


def test_shares(repository: Repository, remote: Remote) -> None:
    export(remote, [tuple(range(9))], {})  # ten chunks: one is the segment
    with ThreadPoolExecutor(1) as threads:
        ((pack, size),) = list_pack_sizes(remote, threads).items()
        for _ in range(2):  # the second time from what this machine remembers
            shares = PackShares(remote, repository.cache, {pack: size}, threads)
            shares.learn([pack, "missing"])
            assert shares.chunks(pack) == 10
            assert shares.stored(pack, 5) == size // 2
            assert (shares.chunks("missing"), shares.stored("missing", 5)) == (0, 0)


def test_ten_million_chunks_take_few_megabytes() -> None:
    packs = 10_000
    everything = Runs()
    for pack in range(packs):
        everything.append(pack * CHUNKS_OF_PACK, Place(pack, 0))
        everything._length[-1] = CHUNKS_OF_PACK
    whole = Layer(
        size=packs * CHUNKS_OF_PACK * 65536,
        segments=b"",
        packs=[f"{number:032x}-0" for number in range(packs)],
        chunk_runs=everything,
        segment_runs=Runs(),
    )
    tracemalloc.start()
    usage = Usage()
    usage.add(whole)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(usage.used(pack) for pack in whole.packs) == packs * CHUNKS_OF_PACK
    assert peak < 10e6


def test_marking_keeps_a_few_bytes_of_each_layer(repository: Repository, remote: Remote) -> None:
    for number in range(10):
        export(remote, [tuple(range(number, number + 3))], {})
    with ThreadPoolExecutor(2) as threads:
        marker = Marker(repository, threads)
        marker.mark()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        mark = marker.mark()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(mark.chosen) == 10
    assert (after - before) / 10 < 3000
