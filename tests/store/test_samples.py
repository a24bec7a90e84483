"""Similar data is found in a repository that is too large to be known as a whole."""

from __future__ import annotations

import logging
import random
import threading
from pathlib import Path

import pytest

from devops_snapshot.errors import StorageError
from devops_snapshot.remote import Remote, connect
from devops_snapshot.store import (
    FileSource,
    LayerKind,
    Repository,
)
from devops_snapshot.store.cache import Cache
from devops_snapshot.store.dedup import chunk_index, sample_merge
from devops_snapshot.store.dedup.chunk_index import ChunkIndex
from devops_snapshot.store.dedup.known_chunks import KnownChunks
from devops_snapshot.store.dedup.sample_merge import merge_samples
from devops_snapshot.store.dedup.samples import (
    RATE,
    SAMPLES,
    Sampler,
    Samples,
    SampleTable,
    is_sampled,
    key_of,
    neighbours,
)
from devops_snapshot.store.lease import Lease
from devops_snapshot.store.writing import pack_writer

from .merges import fail_after, merging
from .place import CHUNK, export, make_file, noise, objects, opened, restore

CHUNKS = 640
LEASE = "5f2a9c01" * 4


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository is small enough to be known as a whole."""
    monkeypatch.setattr(chunk_index, "SMALL", -1)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return make_file(tmp_path / "image", CHUNKS * CHUNK, {0: noise(CHUNKS * CHUNK)})


@pytest.fixture
def stored(tmp_path: Path, image: Path) -> Path:
    """A repository with one export of the image."""
    with opened(tmp_path / "repository") as repository:
        export(repository, image)
    return tmp_path / "repository"


def as_stranger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Go on as a machine that has never seen the repository."""
    number = len(list(tmp_path.glob("stranger-*")))
    (tmp_path / f"stranger-{number}").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"stranger-{number}"))


def without_samples(repository: Path) -> None:
    for path in objects(repository, "samples"):
        path.unlink()


def sent_again(repository: Path, image: Path) -> int:
    """Export once more and return how many chunks were sent."""
    with opened(repository) as opening:
        _, _, stats = export(opening, image)
    assert stats.chunks_read == CHUNKS
    return stats.chunks_sent


def digests(number: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(32 * number)


def each(several: bytes) -> list[bytes]:
    return [several[start : start + 32] for start in range(0, len(several), 32)]


def test_one_digest_in_128_is_a_sample_and_found_in_its_packs() -> None:
    sampler = Sampler()
    packs = {f"{LEASE}-{number}": digests(5000, number) for number in range(3)}
    for pack, content in packs.items():
        sampler.add(pack, content)
    for found in (sampler, SampleTable(sampler.encode(), "test")):
        for pack, content in packs.items():
            sampled = [one for one in each(content) if is_sampled(one)]
            assert 0.5 < len(sampled) * RATE / 5000 < 1.5
            assert all(list(found.find(key_of(one))) == [pack] for one in sampled)
            others = [one for one in each(content) if not is_sampled(one)]
            assert not any(list(found.find(key_of(one))) for one in others)
    assert SampleTable(sampler.encode(), "test").chunks == 15_000


def test_packs_that_share_a_chunk_are_both_found_and_odd_names_are_left_out() -> None:
    sampled = next(one for one in each(digests(5000, 1)) if is_sampled(one))
    tables = []
    for pack in (f"{LEASE}-1", f"{LEASE}-4294967295"):
        sampler = Sampler()
        sampler.add(pack, sampled)
        sampler.add(f"{LEASE}-007", sampled)
        sampler.add(f"{LEASE}-4294967296", sampled)
        tables.append(SampleTable(sampler.encode(), "test"))
    assert set(Samples(tables).find(key_of(sampled))) == {f"{LEASE}-1", f"{LEASE}-4294967295"}


def test_neighbours_are_of_the_same_export() -> None:
    assert list(neighbours(f"{LEASE}-5")) == [f"{LEASE}-{n}" for n in (6, 4, 7, 3)]
    assert list(neighbours(f"{LEASE}-0")) == [f"{LEASE}-1", f"{LEASE}-2"]


def test_samples_lead_to_what_is_there(
    stored: Path, image: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    as_stranger(monkeypatch, tmp_path)
    assert sent_again(stored, image) == 0
    as_stranger(monkeypatch, tmp_path)
    without_samples(stored)
    assert sent_again(stored, image) == CHUNKS  # so it was the samples


def test_related_exports_are_known_from_the_start(
    stored: Path, image: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_samples(stored)
    as_stranger(monkeypatch, tmp_path)
    with opened(stored) as repository:
        gone, (first,) = "20200101T000000Z-00000000", repository.exports()
        with repository.writing(related=[gone, first.id]) as session:
            with FileSource.open(image) as source:
                session.add_layer(source, kind=LayerKind.BASE)
            session.publish(b"", {})
    assert session.stats.chunks_sent == 0


@pytest.mark.parametrize("step", [(Lease, "publish"), (ChunkIndex, "close_pack")])
def test_what_an_export_sent_before_it_was_cut_off_is_not_sent_again(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[type, str]
) -> None:
    def cut(*_: object) -> int:
        raise StorageError("cut off")

    with monkeypatch.context() as patch, opened(tmp_path / "repository") as repository:
        patch.setattr(*step, cut)
        with pytest.raises(StorageError, match="cut off"):
            export(repository, image)
    without_samples(tmp_path / "repository")  # as if it had not come that far
    assert sent_again(tmp_path / "repository", image) == 0
    with opened(tmp_path / "repository") as repository:
        assert repository.cache.notes.all("unpublished lease") == {}
    as_stranger(monkeypatch, tmp_path)
    assert sent_again(tmp_path / "repository", image) == 0  # told by whoever has taken it over


def test_a_pack_that_is_gone_or_cut_is_not_relied_upon(
    stored: Path,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (pack,) = objects(stored, "packs")
    pack.write_bytes(pack.read_bytes()[:-10])
    with caplog.at_level(logging.WARNING):
        assert sent_again(stored, image) == CHUNKS  # although the index is in the cache
    assert f"{pack.name} is damaged" in caplog.text
    for path in objects(stored, "packs"):
        path.unlink()
    as_stranger(monkeypatch, tmp_path)
    assert sent_again(stored, image) == CHUNKS


def test_a_pack_that_is_to_be_avoided_is_not_relied_upon(stored: Path) -> None:
    (pack,) = (path.name for path in objects(stored, "packs"))
    with connect(f"file://{stored}") as remote:
        repository = Repository.open(remote)
        window = each(repository.indexes.load(pack).digests)
        for small in (-1, 500_000):
            for avoid in (frozenset(), frozenset([pack])):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(chunk_index, "SMALL", small)
                    index = ChunkIndex(remote, repository.indexes, avoid=avoid)
                    index.load()
                    index.prepare(window)
                assert index.seen(pack) is (not avoid)
                assert all((index.find(one) is None) is bool(avoid) for one in window)


def test_damaged_samples_are_named_and_cost_deduplication_only(
    stored: Path,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (path,) = objects(stored, "samples")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    as_stranger(monkeypatch, tmp_path)
    with caplog.at_level(logging.WARNING):
        assert sent_again(stored, image) == CHUNKS
    assert f"samples/{path.name} is damaged" in caplog.text


def test_damage_in_the_cache_is_survived(stored: Path, image: Path, cache: Path) -> None:
    assert sent_again(stored, image) == 0
    cached = list(cache.rglob("samples/*"))
    assert cached
    for path in cached:
        path.write_bytes(b"?" * path.stat().st_size)
    assert sent_again(stored, image) == 0


def test_memory_is_bounded_and_what_was_forgotten_is_found_again(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_writer, "PACK_CHUNKS", 100)
    made: list[KnownChunks] = []

    def make() -> KnownChunks:
        made.append(KnownChunks(limit=700))
        return made[-1]

    monkeypatch.setattr(chunk_index, "KnownChunks", make)
    others = [
        make_file(tmp_path / f"other-{n}", CHUNKS * CHUNK, {0: noise(CHUNKS * CHUNK, seed=n)})
        for n in (1, 2)
    ]
    with opened(tmp_path / "repository") as repository:
        export_id, layers, stats = export(repository, image, *others, image)
        (known,) = made
        assert len(known) <= 1400
        assert 3 * CHUNKS <= stats.chunks_sent < 3.2 * CHUNKS
        with repository.reading(export_id) as session:
            copy = restore(session, layers[-1], tmp_path / "copy")
    assert copy.read_bytes() == image.read_bytes()


def test_generations_take_turns() -> None:
    known = KnownChunks(limit=1000)
    packs = [digests(600, seed) for seed in range(4)]
    for number in (0, 1):
        known.add_pack(number, packs[number])
    assert known.find(packs[0][:32]) == (0, 0)
    assert known.refresh(0)  # else it would be forgotten with the next one
    known.add_pack(2, packs[2])
    assert known.find(packs[0][-32:]) == (0, 599)
    assert known.find(packs[1][:32]) is None
    assert not known.refresh(1)
    assert len(known) == 1200


def fill(repository: Repository, packs: int) -> dict[str, bytes]:
    """Write samples of packs of 500 chunks, an object for every two; the packs do not exist."""
    names = [f"{number:032x}-{n}" for number in range(packs // 2) for n in (0, 1)]
    contents = {pack: digests(500, seed) for seed, pack in enumerate(names)}
    for first, second in zip(*[iter(contents)] * 2, strict=True):
        sampler = Sampler()
        sampler.add(first, contents[first])
        sampler.add(second, contents[second])
        with merging(repository) as lease:
            lease.write(f"samples/{lease.id}", [sampler.encode()])
    return contents


def found(remote: Remote, contents: dict[str, bytes]) -> set[str]:
    """Return the packs of which a client finds every sample."""
    samples = Samples.load(remote, Cache(LEASE))
    return {
        pack
        for pack, content in contents.items()
        if all(pack in samples.find(key_of(one)) for one in each(content) if is_sampled(one))
    }


def test_many_objects_are_merged_into_one(repository: Repository, directory: Path) -> None:
    contents = fill(repository, 12)
    chunks = Samples.load(repository.remote, repository.cache).chunks
    with merging(repository) as lease:
        merge_samples(lease, repository.remote, repository.indexes)
    assert len(objects(directory, "samples")) == 1
    assert found(repository.remote, contents) == set(contents)
    assert Samples.load(repository.remote, repository.cache).chunks == chunks == 6000


def test_merging_drops_what_is_gone_and_adds_what_is_lacking(
    repository: Repository, image: Path, directory: Path
) -> None:
    contents = fill(repository, 6)
    export(repository, image)
    (pack,) = (path.name for path in objects(directory, "packs"))
    (path,) = directory.glob(f"samples/{pack[:32]}*")
    path.unlink()
    alive = {*list(contents)[:4], pack}
    with merging(repository) as lease:
        merge_samples(lease, repository.remote, repository.indexes, packs=alive)
    contents[pack] = repository.indexes.load(pack).digests
    assert found(repository.remote, contents) == alive
    assert len(objects(directory, "samples")) == 1


def test_packs_without_samples_are_told_all_the_same(
    repository: Repository, directory: Path
) -> None:
    plain = b"".join(one for one in each(digests(100, 1)) if not is_sampled(one))
    for number in range(2):
        sampler = Sampler()
        sampler.add(f"{LEASE}-{number}", plain)
        with merging(repository) as lease:
            lease.write(f"samples/{lease.id}", [sampler.encode()])
    told = len(plain) // 32
    assert Samples.load(repository.remote, repository.cache).chunks == 2 * told
    with merging(repository) as lease:
        merge_samples(lease, repository.remote, repository.indexes)
    assert Samples.load(repository.remote, repository.cache).chunks == 2 * told
    assert len(objects(directory, "samples")) == 1


def test_nothing_to_merge_leaves_all_as_it_is(repository: Repository, directory: Path) -> None:
    contents = fill(repository, 2)
    before = objects(directory, "samples")
    with merging(repository) as lease:
        merge_samples(lease, repository.remote, repository.indexes, packs=set(contents))
    assert objects(directory, "samples") == before


def test_two_may_merge_at_once(repository: Repository) -> None:
    contents = fill(repository, 40)

    def merge() -> None:
        with merging(repository) as lease:
            merge_samples(lease, repository.remote, repository.indexes, packs=set(contents))

    for _ in range(2):
        threads = [threading.Thread(target=merge) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found(repository.remote, contents) == set(contents)


@pytest.mark.parametrize("operation", ["write", "remove"])
def test_a_merge_may_be_cut_off_anywhere(
    tmp_path: Path, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path / "repository") as repository:
        contents = fill(repository, 8)
        for calls in range(6):
            with merging(repository) as lease, monkeypatch.context() as patch:
                fail_after(calls, patch, repository.remote, operation, SAMPLES)
                try:
                    merge_samples(lease, repository.remote, repository.indexes)
                except StorageError:
                    assert calls < 4
            assert found(repository.remote, contents) == set(contents)
        assert len(objects(tmp_path / "repository", "samples")) == 1


def test_an_export_merges_when_there_are_many(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_merge, "MANY", 5)
    with opened(tmp_path / "repository") as repository:
        contents = fill(repository, 8)
        export(repository, image)
        assert len(objects(tmp_path / "repository", "samples")) == 1
        assert found(repository.remote, contents) == set(contents)
