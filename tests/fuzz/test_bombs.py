"""Small objects that stand for much, large ones without an end, and such as nobody can read.

Each client has 600 MiB and a minute. Without limits each of these would take more, or all there is.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
import zstandard

from devops_snapshot.remote import Entry
from devops_snapshot.remote.interface import LONGEST_ENTRY, MOST_ENTRIES, moderately_many
from devops_snapshot.remote.local import LocalRemote
from devops_snapshot.store import LayerId, Repository
from devops_snapshot.store.format.frame import decode_frame
from devops_snapshot.store.format.hashing import digest
from devops_snapshot.store.format.layer import layer_id
from devops_snapshot.store.format.pack import FOOTER_SIZE
from devops_snapshot.store.ram.recipe import Recipe

from .confined import MIB, outcome
from .effort import LONG
from .forgery import head_and_body, resealed, with_fields
from .test_repository import (
    WORK,
    Work,
    collecting,
    copied,
    exporting,
    importing,
    listing,
    looking,
    pruning,
    verifying,
)

MEMORY = 600 * MIB
GIB = 1 << 30
BLOCK = 128 * 1024


def repeated(size: int) -> bytes:
    """A zstd frame of that many zeros: four bytes for each 128 KiB."""
    header = struct.pack("<IBQ", 0xFD2FB528, 0b11100000, size)
    blocks = [(BLOCK, False)] * (size // BLOCK - 1) + [(BLOCK, True)]
    packed = (struct.pack("<I", n << 3 | 1 << 1 | last)[:3] + b"\0" for n, last in blocks)
    return header + b"".join(packed)


def test_such_a_frame_is_one() -> None:
    assert zstandard.ZstdDecompressor().decompress(repeated(MIB)) == bytes(MIB)


def first(root: Path, directory: str) -> Path:
    return min(path for path in (root / directory).rglob("*") if path.is_file())


def with_layer(root: Path, size: int, sections: list[int], body: bytes) -> None:
    """The layers of all exports become one that says this of itself."""
    segments = bytes(sections[0]) if sections[0] < GIB else b""
    layer = layer_id(size, segments)
    path = first(root, "layers")
    parts = head_and_body(path.read_bytes())
    assert parts is not None
    head = {**parts[0], "id": layer, "size": size, "encoding": "plain", "sections": sections}
    target = root / "layers" / layer[:2] / f"{layer}.{'0' * 32}"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(resealed(head, body))
    for export in (root / "exports").iterdir():
        export.write_bytes(with_fields(export.read_bytes(), layers=[layer]))


def endless(path: Path, *, start: bytes = b"") -> None:
    """A file of 64 GiB that takes no room."""
    path.write_bytes(start)
    os.truncate(path, 64 * GIB)


def endless_tail(path: Path) -> None:
    endless(path, start=path.read_bytes())


def pipe(path: Path) -> None:
    """Whoever opens it waits for somebody who writes."""
    path.unlink()
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def many_values(path: Path) -> None:
    parts = head_and_body(path.read_bytes())
    if parts is not None:
        path.write_bytes(resealed({**parts[0], "more": [[]] * (10 * MIB)}, parts[1]))


def many_bytes_of_head(path: Path) -> None:
    parts = head_and_body(path.read_bytes())
    if parts is not None:
        path.write_bytes(resealed({**parts[0], "more": "x" * (90 * MIB)}, parts[1]))


SPOILS: tuple[Callable[[Path], None], ...] = (
    endless,
    endless_tail,
    pipe,
    directory,
    many_values,
    many_bytes_of_head,
)
QUICK_SPOILS = SPOILS[:4]
"""The others take half a minute for each kind."""

READERS = {
    "repository.json": (listing,),
    "exports": (listing, importing),
    "layers": (importing,),
    "packs": (importing,),
    "samples": (exporting,),
    "summaries": (collecting,),
    "pins": (listing,),
    "settings": (looking,),
    "leases": (looking, pruning),
    "condemned": (importing, exporting),
    "damaged": (exporting,),
    "history": (looking,),
    "deleted": (listing,),
}
"""Who reads which objects; in a long run everybody looks at everything."""


def client(work: Work, root: Path) -> None:
    """Let a client do something, with limits."""
    told = outcome(lambda: work(Repository.open(LocalRemote(root)), root.parent), memory=MEMORY)
    assert len(told) < 5000


@pytest.mark.parametrize(
    "spoil", SPOILS if LONG else QUICK_SPOILS, ids=lambda spoil: spoil.__name__
)
@pytest.mark.parametrize("kind", READERS)
def test_objects_without_end(template: Path, kind: str, spoil: Callable[[Path], None]) -> None:
    for work in WORK if LONG else READERS[kind]:
        with copied(template) as root:
            path = root / kind
            spoil(path if path.is_file() else first(root, kind))
            client(work, root)


@pytest.mark.parametrize(
    ("size", "sections", "body"),
    [
        pytest.param(2**62, [2**42, 0, 0, 0], repeated(BLOCK), id="8 EiB"),
        pytest.param(2**40, [2**21, 2**36, 0, 0], repeated(GIB), id="64 GiB of names of packs"),
        pytest.param(2**40, [2**21, 0, 0, 20 * 2**32], repeated(GIB), id="80 GiB of places"),
        pytest.param(2**40, [2**21, 0, 0, 2**45], repeated(2**32), id="more than was packed"),
        pytest.param(2**45, [2**26, 0, 0, 0], repeated(2**26), id="32 TiB of holes"),
    ],
)
def test_layers(template: Path, size: int, sections: list[int], body: bytes) -> None:
    for work in WORK if LONG else (importing, collecting):
        with copied(template) as root:
            with_layer(root, size, sections, body)
            client(work, root)


def test_a_layer_that_is_too_long_is_refused(template: Path) -> None:
    with copied(template) as root:
        with_layer(root, 2**40, [2**21, 2**36, 0, 0], repeated(GIB))
        [export, *_] = sorted((root / "exports").iterdir())
        [layer] = json.loads(export.read_bytes().partition(b"\n")[0])["layers"]

        def read() -> None:
            with Repository.open(LocalRemote(root)).reading(export.stem) as session:
                session.layer(LayerId(layer))

        assert "larger than any can be" in outcome(read, memory=MEMORY)


def test_a_listing_without_end() -> None:
    entries = (Entry(f"{n:0{LONGEST_ENTRY}}", 0, 0.0, is_directory=False) for n in count())
    told = outcome(lambda: list(moderately_many(entries, "it")), memory=MEMORY)
    assert told.startswith(f"it is damaged: more than {MOST_ENTRIES} objects are listed")


@pytest.mark.parametrize("codec", [0, 1])
@pytest.mark.parametrize("plain", [MIB, MIB + 1, 2**32 - 1])
def test_frames(codec: int, plain: int) -> None:
    """The checksum is right: only the sizes are not."""
    for payload in (b"", repeated(GIB), bytes(MIB), zstandard.compress(bytes(GIB // 4))):
        fields = struct.pack("<3sBIII", b"DSF", codec, len(payload), plain, 1)
        frame = fields + digest(fields, payload)[:16] + payload

        def decode(frame: bytes = frame) -> None:
            assert len(decode_frame(frame, "a frame")) <= MIB

        outcome(decode, memory=64 * MIB)


def test_the_index_of_a_pack(template: Path) -> None:
    """Its footer tells how much there is to read; the object is as long."""
    with copied(template) as root:
        for pack in (root / "packs").rglob("*"):
            if pack.is_file():
                footer = struct.pack("<8sIIQII", b"DSINDEX\n", 1, 2**32 - 1, 16, 1, 0)
                start = 8 * GIB
                os.truncate(pack, start)
                with pack.open("r+b") as file:
                    file.seek(start)
                    file.write(footer + digest(footer))
                assert len(footer) + 32 == FOOTER_SIZE
        for work in WORK if LONG else (importing, verifying):
            client(work, root)


def test_recipes() -> None:
    """21 bytes stand for 38 GiB of zeros; four million such steps are as many as are read."""
    steps = 1 << 20
    zeros = struct.pack(f"<{steps}Q", *[0] * steps)
    counts = struct.pack(f"<{steps}I", *[2**32 - 1] * steps)
    encoded = zeros + zeros + counts + b"\2" * steps + struct.pack("<Q", steps)

    def decode() -> None:
        recipe = Recipe.decode(encoded, content=0, where="a layer")
        assert recipe.size == steps * (2**32 - 1) * 9

    assert outcome(decode, memory=200 * MIB) == ""
