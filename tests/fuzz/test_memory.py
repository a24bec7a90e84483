"""Memory files and what is told of them: libvirt's header, QEMU's stream, recipes of layers."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devops_snapshot.errors import FormatError
from devops_snapshot.importer.reshape.memory_header import MemoryHeader
from devops_snapshot.snapshot.domain_xml import parse
from devops_snapshot.snapshot.metadata import (
    build_snapshot,
    parse_snapshot,
    with_files,
    with_files_renamed,
    with_parent,
)
from devops_snapshot.store.ram import ram_source
from devops_snapshot.store.ram.recipe import BYTES, PAGES, ZEROS, Recipe, encoded_size
from devops_snapshot.store.ram.stream import scan
from tests.importer.test_memory_header import COOKIE, DEFINITION, another, written
from tests.manifest.real import document
from tests.store.place import noise
from tests.store.saved_memory import PAGE, RAM, pages, saved
from tests.store.test_ram import Bytes

from . import hostile, xml
from .confined import MIB, outcome
from .effort import examples, only_clear_errors

MEMORY_FILE = saved(
    {"pc.ram": RAM // 4, "vga.vram": 8 * PAGE},
    [
        pages({3: noise(PAGE, 3), 4: noise(PAGE, 4)}, size=RAM // 4),
        pages({0: noise(PAGE, 5)}, block="vga.vram", size=8 * PAGE),
    ],
)


@examples(80)
@given(data=st.data())
def test_any_stream_comes_back_bit_for_bit(data: st.DataObject) -> None:
    """Whatever is taken for a page: the recipe makes the same file again."""
    content = data.draw(hostile.spoilt(MEMORY_FILE))
    found = scan(Bytes(content))
    if found is None:
        return
    recipe, again = found[0].recipe, bytearray()
    source = ram_source(Bytes(content))
    assert recipe.size == len(content)
    if source is None:
        return
    told = source.pread(0, source.size)
    assert len(told) == source.size
    for number in range(len(recipe)):
        step = recipe[number]
        for unit in range(step.units if step.kind != BYTES else 1):
            header = struct.pack(">Q", step.header + unit * PAGE)
            if step.kind == BYTES:
                again += told[step.source : step.source_end]
            elif step.kind == PAGES:
                again += header + told[step.source + unit * PAGE :][:PAGE]
            else:
                again += header + b"\0"
    assert bytes(again) == content


STREAM_START = MEMORY_FILE.index(b"\3ram") + 12


@pytest.mark.parametrize("total", [1 << 62, 1 << 40, 64 * RAM])
@pytest.mark.parametrize("name", [b"\0", b"\xff" * 256, b"\6pc.ram"])
def test_blocks_that_are_larger_than_the_file(total: int, name: bytes) -> None:
    """A stream may claim any memory: nobody makes room for it."""
    blocks = struct.pack(">Q", total | 4) + name + struct.pack(">Q", total) + b"\6pc.rom" * 9
    content = MEMORY_FILE[:STREAM_START] + blocks + MEMORY_FILE[STREAM_START:]

    def read() -> None:
        source = ram_source(Bytes(content))
        if source is not None:
            for extent in source.extents():
                source.pread(extent.offset, min(extent.length, MIB))

    assert outcome(read, memory=100 * MIB, seconds=20) == ""


@examples(80)
@given(data=st.data())
def test_recipes(data: st.DataObject) -> None:
    recipe = Recipe()
    recipe.append(BYTES, 100, source=7 * PAGE)
    recipe.append(PAGES, 5, header=8, source=0)
    recipe.append(ZEROS, 9, header=5 * PAGE | 2)
    encoded = data.draw(hostile.spoilt(recipe.encode(0, recipe.encoded_size)))
    with only_clear_errors():
        size = encoded_size(encoded[-8:], "a layer")
        if size > len(encoded):
            return
        content = 8 * PAGE
        found = Recipe.decode(encoded[-size:], content=content, where="a layer")
        for number in range(len(found)):
            step = found[number]
            assert 0 <= step.source <= step.source_end <= content or step.kind == ZEROS


@examples(60)
@given(data=st.data())
def test_headers_of_memory_files(data: st.DataObject) -> None:
    definition = data.draw(st.one_of(st.just(DEFINITION), xml.changed(DEFINITION)))
    whole = written(definition.replace("\0", ""), data.draw(st.sampled_from([None, COOKIE])))
    content = data.draw(st.one_of(st.just(whole), hostile.spoilt(whole)))
    with only_clear_errors():
        header = MemoryHeader.unpack(content)
        assert header.pack() == content[: header.size]
        renamed = header.like(another(), paths={"/pool/a_node-1_system": "/here/x"})
        packed = renamed.pack()
        assert MemoryHeader.unpack(packed) == renamed
        root = parse(renamed.definition)
        assert root.findtext("name") == "a_node-1"
        assert not root.findall("seclabel")


REAL = document()["environment"]["groups"][0]["nodes"][0]["snapshots"][0]["xml"]


@examples(80)
@given(data=st.data())
def test_snapshots(data: st.DataObject) -> None:
    told = data.draw(xml.changed(REAL))
    with only_clear_errors():
        found = parse_snapshot(told)
        for changed in (
            with_files(told, overlays={"sda": "/x"}, memory_path="/y"),
            with_files_renamed(told, {"/a": "/b"}),
            with_parent(told, "p"),
        ):
            again = parse_snapshot(changed)
            assert (again.name, again.state, again.internal) == (
                found.name,
                found.state,
                found.internal,
            )


@examples(40)
@given(name=st.text(min_size=1), description=st.text(), path=st.text(), created=st.integers())
def test_what_is_built_is_what_is_read(
    name: str, description: str, path: str, created: int
) -> None:
    domain = parse(REAL).find("domain")
    assert domain is not None
    try:
        told = build_snapshot(
            name=name,
            description=description,
            parent=None,
            created=created,
            state="running",
            memory_path=path,
            overlays={"sda": path},
            domain=domain,
            inactive=domain,
        )
    except ValueError:  # characters that XML has not
        return
    try:
        found = parse_snapshot(told)
    except FormatError:
        return
    assert found.memory_path == path
