"""Saved memories come back bit for bit, whatever is in them, and two of one guest share chunks."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devops_snapshot.errors import FormatError
from devops_snapshot.store import (
    Extent,
    LayerId,
    LayerKind,
    LayerSource,
    Repository,
    export_session,
)
from devops_snapshot.store.format.layer import Origin
from devops_snapshot.store.ram import ram_source, recipe
from devops_snapshot.store.ram.recipe import PAGES, Recipe
from devops_snapshot.store.ram.source import RamSource
from devops_snapshot.store.ram.stream import Scan

from .foreign_reader import read_layer, read_sealed
from .place import CHUNK, export, noise, objects, opened, restore
from .saved_memory import BLOCKS, END, PAGE, RAM, Page, pages, saved

BLOCKS_OF_A_GUEST = {"pc.ram": RAM, "0000:00:02.0/vga.vram": 5 * CHUNK, "pc.bios": 3 * PAGE}
CONTENTS = {
    "zeros": None,
    "written zeros": bytes(PAGE),
    "noise": noise(PAGE, 1),
    "other noise": noise(PAGE, 2),
    "header": struct.pack(">Q", 5 * PAGE | 0x28) * (PAGE // 8),
}


@dataclass(frozen=True)
class Bytes:
    """A source in memory."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    def extents(self) -> Iterator[Extent]:
        yield Extent(0, self.size)

    def pread(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size
        return self.content[offset : offset + length]


def guest(seed: int = 0) -> dict[int, bytes]:
    """Return pages of a guest's memory by their number; about half of them are not zeros."""
    choose = random.Random(seed)
    numbers = choose.sample(range(RAM // PAGE), RAM // PAGE // 2)
    return {number: noise(PAGE, 1000 * (seed + 1) + number) for number in numbers}


def save_of(content: dict[int, bytes]) -> bytes:
    """Return a save of a guest with all its blocks."""
    everything = pages(content)
    for block, size in BLOCKS_OF_A_GUEST.items():
        if block != "pc.ram":
            everything += pages({}, block=block, size=size)
    return saved(BLOCKS_OF_A_GUEST, [everything[:100], everything[100:], []])


def export_memories(repository: Repository, *contents: bytes) -> tuple[str, list[LayerId]]:
    with repository.writing() as session:
        layers = [session.add_layer(Bytes(each), kind=LayerKind.MEMORY) for each in contents]
        session.publish(b"", {})
    return session.export_id, layers


def encodings(directory: Path) -> list[str]:
    heads = (read_sealed(path, "devops-snapshot layer")[0] for path in objects(directory, "layers"))
    return sorted(head["encoding"] for head in heads)


@st.composite
def bursts(draw: st.DrawFn) -> list[Page]:
    """Draw neighbouring pages, as a guest that is being saved sends them, or one at any place."""
    block = draw(st.sampled_from(sorted(BLOCKS_OF_A_GUEST)))
    last = BLOCKS_OF_A_GUEST[block] // PAGE
    first = draw(st.integers(0, last))  # the last one is beyond the end
    content = CONTENTS[draw(st.sampled_from(sorted(CONTENTS)))]
    named = draw(st.integers(0, 9)) == 0
    count = draw(st.integers(1, 40))
    return [
        Page(block, number, content, named and number == first)
        for number in range(first, min(first + count, last + 1))
    ]


@st.composite
def memories(draw: st.DrawFn) -> bytes:
    """Draw a file that begins like a saved memory, and mostly is one."""
    parts = [
        [page for burst in part for page in burst]
        for part in draw(st.lists(st.lists(bursts(), max_size=8), min_size=1, max_size=4))
    ]
    blocks = dict(draw(st.permutations(sorted(BLOCKS_OF_A_GUEST.items()))))
    rest = draw(st.sampled_from([b"", b"\1", b"state" * 30_000]))
    return saved(blocks, parts, rest=rest, footers=draw(st.booleans()))


@st.composite
def mutilations(draw: st.DrawFn, content: bytes) -> bytes:
    at = draw(st.integers(0, len(content)))
    how = draw(st.sampled_from(["cut", "flip", "lose", "insert"]))
    if how == "cut":
        return content[:at]
    if how == "flip":
        flipped = bytearray(content)
        flipped[min(at, len(content) - 1)] ^= 1 << draw(st.integers(0, 7))
        return bytes(flipped)
    length = draw(st.sampled_from([1, 7, 8, 9, PAGE, 4104, 20_000]))
    if how == "lose":
        return content[:at] + content[at + length :]
    return content[:at] + noise(length) + content[at:]


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_whatever_is_saved_comes_back(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, data: st.DataObject
) -> None:
    content = data.draw(memories(), "file")
    variants = [content, *(data.draw(mutilations(content), "mutilated") for _ in range(4))]
    directory = tmp_path_factory.mktemp("copies")
    with opened(tmp_path / "repository") as repository:  # the same one for all examples
        export_id, layers = export_memories(repository, *variants)
        with repository.reading(export_id) as session:
            for number, (variant, layer) in enumerate(zip(variants, layers, strict=True)):
                copy = restore(session, layer, directory / str(number))
                assert copy.read_bytes() == variant
                reader = session.layer(layer)
                start = data.draw(st.integers(0, len(variant) + 1), "from")
                length = data.draw(st.integers(0, 3 * CHUNK), "length")
                assert reader.pread(start, length) == variant[start : start + length]


def test_every_truncation_comes_back(tmp_path: Path) -> None:
    """Around each place where one thing ends and another begins."""
    blocks = {"pc.ram": 20 * PAGE, "pc.rom": PAGE}
    some = [
        *pages({1: noise(PAGE), 2: noise(PAGE, 1), 9: noise(PAGE, 2)}, size=20 * PAGE),
        Page("pc.rom", 0, noise(PAGE, 3)),
    ]
    content = saved(blocks, [some[:4], some[4:]], rest=b"the rest")
    contents = [content[:length] for length in range(len(content) + 1) if length % 4104 < 250]
    assert len(contents) > 1000
    for each in contents:
        source = ram_source(Bytes(each))
        if source:
            assert source.origin.size == len(each)
    with opened(tmp_path / "repository") as repository:
        export_id, layers = export_memories(repository, *contents[::10])
        with repository.reading(export_id) as session:
            for each, layer in zip(contents[::10], layers, strict=True):
                assert session.layer(layer).pread(0, len(content)) == each
    assert set(encodings(tmp_path / "repository")) == {"plain", "ram"}


def test_pages_lie_at_their_guest_address() -> None:
    content = guest()
    source = ram_source(Bytes(save_of(content)))
    assert source is not None
    for number in range(RAM // PAGE):
        assert source.pread(number * PAGE, PAGE) == content.get(number, bytes(PAGE))
    covered = sum(extent.length for extent in source.extents())
    assert covered < len(content) * PAGE + CHUNK


def test_pages_that_come_again_are_kept(tmp_path: Path) -> None:
    """As of a guest that ran while it was being saved."""
    first, again = pages(guest()), pages(guest(1))[50:150]
    content = saved({"pc.ram": RAM}, [first, again], rest=b"")
    with opened(tmp_path / "repository") as repository:
        export_id, (layer,) = export_memories(repository, content)
        with repository.reading(export_id) as session:
            assert session.layer(layer).pread(0, len(content)) == content
    assert encodings(tmp_path / "repository") == ["ram"]


def test_a_second_save_adds_what_has_changed(tmp_path: Path) -> None:
    """Pages that became something else than zeros shift all that follows in the file."""
    before = guest()
    zeros = [number for number in range(RAM // PAGE) if number not in before]
    changed = {zeros[0]: noise(PAGE, 2), zeros[70]: noise(PAGE, 3), zeros[-1]: noise(PAGE, 4)}
    first, second = save_of(before), save_of(before | changed)
    grown = {}
    for kind in (LayerKind.OVERLAY, LayerKind.MEMORY):
        with opened(tmp_path / kind.name) as repository:
            for content in (first, second):
                with repository.writing() as session:
                    session.add_layer(Bytes(content), kind=kind)
                    session.publish(b"", {})
            grown[kind] = session.stats.chunks_sent
    assert grown[LayerKind.OVERLAY] > 7
    assert grown[LayerKind.MEMORY] <= 3 + 1  # and the rest of the file with the recipe


def oddities() -> dict[str, bytes]:
    """Files with something that QEMU does not write, but that looks as if it did."""
    some = pages(guest())
    zero = next(page for page in some if page.content is None)
    twice = Page("pc.ram", 0, noise(PAGE, 7), named=True)
    beyond = [Page("pc.ram", number, noise(PAGE, number)) for number in range(250, 260)]
    two_blocks = [*some, *pages(guest(1), block="pc.rum")]
    return {
        "pages of ones": saved({"pc.ram": RAM}, [some]).replace(
            zero.record(some[0]), zero.record(some[0])[:-1] + b"\1"
        ),
        "a page again, with its block": saved({"pc.ram": RAM}, [[*some, twice, twice]]),
        "two blocks of one name": saved({"pc.ram": RAM, "pc.rum": RAM}, [two_blocks]).replace(
            b"pc.rum", b"pc.ram"
        ),
        "beyond the block": saved({"pc.ram": RAM}, [[*some, *beyond]]),
        "unknown block": saved({"pc.ram": RAM}, [[*some, Page("pc.rom", 0, noise(PAGE))]]),
    }


@pytest.mark.parametrize("name", oddities())
def test_oddities_come_back(tmp_path: Path, name: str) -> None:
    content = oddities()[name]
    with opened(tmp_path / "repository") as repository:
        export_id, (layer,) = export_memories(repository, content)
        with repository.reading(export_id) as session:
            assert restore(session, layer, tmp_path / "copy").read_bytes() == content


def without_gain() -> dict[str, bytes]:
    one = save_of(guest())
    blocks = one.index(struct.pack(">Q", sum(BLOCKS_OF_A_GUEST.values()) | BLOCKS))
    claims = struct.pack(">Q", (1 << 60) | BLOCKS) + b"\1x" + struct.pack(">Q", 1 << 60)
    return {
        "empty": b"",
        "another file": noise(3 * CHUNK),
        "header alone": one[:92],
        "up to the pages": one[: blocks + 50],
        "compressed by libvirt": saved(BLOCKS_OF_A_GUEST, [], compressed=1) + noise(CHUNK),
        "XML that never ends": one[:20] + b"\xff\xff\xff\xff" + one[24:],
        "more memory than can be": one[:blocks] + claims + one[blocks:],
        "blocks without a name": one[: blocks + 8] + bytes(200_000),
        "a block twice": one[: blocks + 8] + one[blocks + 8 : blocks + 23] * 2 + one[blocks + 23 :],
        "pages of another size": one[: blocks + 8]
        + one[blocks + 8 :].replace(b"\x20\x28", b"\x21\x28"),
        "something else in between": one.replace(
            struct.pack(">Q", END) + b"\x7e", b"\0\0\0\0\0\0\2\0" + b"x" * 5
        ),
    }


@pytest.mark.parametrize("name", without_gain())
def test_what_is_not_understood_is_kept_as_it_is(tmp_path: Path, name: str) -> None:
    content = without_gain()[name]
    assert ram_source(Bytes(content)) is None
    with opened(tmp_path / "repository") as repository:
        export_id, (layer,) = export_memories(repository, content)
        with repository.reading(export_id) as session:
            assert session.layer(layer).pread(0, len(content)) == content
    assert encodings(tmp_path / "repository") == ["plain"]


def test_only_memories_are_looked_into(tmp_path: Path) -> None:
    (tmp_path / "save").write_bytes(save_of(guest()))
    with opened(tmp_path / "repository") as repository:
        export(repository, tmp_path / "save", kind=LayerKind.OVERLAY)
        assert encodings(tmp_path / "repository") == ["plain"]
        export(repository, tmp_path / "save", kind=LayerKind.MEMORY)
    assert encodings(tmp_path / "repository") == ["plain", "ram"]


def test_a_layer_is_a_source_with_the_same_id(tmp_path: Path) -> None:
    done: list[int] = []
    content = save_of(guest())
    with opened(tmp_path / "repository") as repository:
        export_id, (layer,) = export_memories(repository, content)
        with repository.reading(export_id) as reading, repository.writing() as writing:
            reader: LayerSource = reading.layer(layer)
            assert list(reader.extents()) == [Extent(0, len(content))]
            again = writing.add_layer(reader, kind=LayerKind.MEMORY, progress=done.append)
    assert again == layer
    assert sum(done) == len(content)
    assert min(done) >= 0


def test_a_foreign_reader_reads_it(tmp_path: Path) -> None:
    content = save_of(guest())
    with opened(tmp_path / "repository") as repository:
        _, (layer,) = export_memories(repository, content)
    assert encodings(tmp_path / "repository") == ["ram"]
    assert read_layer(tmp_path / "repository", layer) == content


@dataclass(frozen=True)
class Forged(Bytes):
    """The content of a layer that no exporter would make."""

    origin: Origin


def step(kind: int, units: int, header: int = 0, source: int = 0) -> bytes:
    """Return a recipe of one step."""
    return struct.pack("<QQIBQ", header, source, units, kind, 1)


PAGES_OF_A_LAYER = noise(4 * PAGE)
FORGED = {
    "another digest": (PAGES_OF_A_LAYER + step(0, 4 * PAGE), 4 * PAGE, "does not become the file"),
    "another size": (PAGES_OF_A_LAYER + step(0, 4 * PAGE), 5 * PAGE, "another size"),
    "beyond the content": (PAGES_OF_A_LAYER + step(1, 5), 5 * 4104, "makes no sense"),
    "far beyond": (PAGES_OF_A_LAYER + step(0, 9, source=(1 << 64) - 5), 9, "makes no sense"),
    "unknown kind": (PAGES_OF_A_LAYER + step(3, 4), 4, "makes no sense"),
    "nothing": (PAGES_OF_A_LAYER + step(2, 0), 9, "makes no sense"),
    "address": (PAGES_OF_A_LAYER + step(2, 2, (1 << 64) - 4096), 18, "makes no sense"),
    "no recipe": (bytes(CHUNK), 4 * PAGE, "cannot have 0 steps"),
    "too many steps": (struct.pack("<Q", 1 << 23), 9, "cannot have 8388608 steps"),
    "more steps than bytes": (struct.pack("<Q", 2), 9, "makes no sense"),
    "no content": (b"1234", 9, "cannot have 0 steps"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_layer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    content, size, message = FORGED[name]
    forged = Forged(content, Origin(size, "0" * 64))
    monkeypatch.setattr(export_session, "ram_source", lambda _source: forged)
    with opened(tmp_path / "repository") as repository:
        export_id, (layer,) = export_memories(repository, b"file")
        with repository.reading(export_id) as session:
            with pytest.raises(FormatError, match=message) as caught:
                restore(session, layer, tmp_path / "copy")
            assert layer in str(caught.value)
    assert not (tmp_path / "copy").exists()


def test_scattered_pages_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest may have millions of pieces of memory: some 40 bytes of memory for each."""
    monkeypatch.setattr(recipe, "_SORTED_AT_ONCE", 5000)
    steps = 60_000
    tracemalloc.start()
    scattered = Recipe()
    for number in range(steps):
        address = ((number * 7919) % steps) * 2 * PAGE
        scattered.append(PAGES, 1, header=address | 0x28, source=address)
    source = RamSource(Bytes(b""), Scan(scattered, 2 * PAGE * steps), Origin(0, "0" * 64))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak / steps < 50
    order = [scattered[number].source for number in scattered.by_source()]
    assert order == [number * 2 * PAGE for number in range(steps)]
    start = source.size - scattered.encoded_size
    encoded = source.pread(start, scattered.encoded_size)
    decoded = Recipe.decode(encoded, content=start, where="it")
    assert [decoded[number] for number in range(steps)] == list(
        map(scattered.__getitem__, range(steps))
    )
    assert encoded == b"".join(
        source.pread(at, min(4999, source.size - at)) for at in range(start, source.size, 4999)
    )
