"""Headers of images and of memory files, as nobody should write them.

What is let through is shown to QEMU, in little memory: it must find the file that was meant below,
no other, and must not take the tables of an image for a reason to fill the host.
"""

from __future__ import annotations

import json
import struct
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devops_snapshot.errors import FormatError
from devops_snapshot.importer.heads import check_image
from devops_snapshot.manifest.document import File, FileRole
from devops_snapshot.qcow2 import MAX_HEAD, header_in, standing_on
from devops_snapshot.store import FileSource

from . import hostile
from .effort import examples, only_clear_errors

MIB = 1 << 20
MEMORY = 300 * MIB
BACKING = "/pool/below"
LOWEST = 512  # bytes of the smallest cluster

KINDS = (
    "compat=0.10",
    "compat=1.1",
    "compat=1.1,cluster_size=512",
    "compat=1.1,cluster_size=2M",
    "compression_type=zstd",
    "extended_l2=on",
    "lazy_refcounts=on,refcount_bits=64",
    "refcount_bits=1",
)


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


@cache
def image(options: str, backed: bool = True) -> bytes:
    """A small image with some data and a snapshot inside."""
    with TemporaryDirectory() as directory:
        base, path = Path(directory, "base"), Path(directory, "image")
        qemu_img("create", "-f", "raw", base, "1M")
        below = ["-b", base, "-F", "raw"] if backed else []
        qemu_img("create", "-f", "qcow2", "-o", options, *below, path, "1M")
        qemu_img("bench", "-w", "-c", "1", "-s", "4096", "--pattern=7", path)
        if options != "refcount_bits=1":  # which counts to one
            qemu_img("snapshot", "-c", "one", path)
        return path.read_bytes()


def exported(size: int, *, backed: bool = True, virtual_size: int | None = None) -> File:
    return File(
        path="/pool/image",
        role=FileRole.OVERLAY,
        format="qcow2",
        size=size,
        virtual_size=virtual_size,
        backing=BACKING if backed else None,
    )


def check(path: Path, **told: Any) -> None:
    with FileSource.open(path) as source:
        check_image(exported(source.size, **told), source)


def told_by_qemu(path: Path) -> dict[str, Any] | None:
    """What ``qemu-img info`` says; nothing if QEMU refuses the image."""
    limits = [f"--data={MEMORY}", f"--stack={MIB}", "--cpu=20"]  # threads take a stack each
    command = ["prlimit", *limits, "qemu-img", "info", "-f", "qcow2"]
    done = subprocess.run(
        [*command, "--output=json", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (0, 1), done.stderr
    assert "llocate" not in done.stderr, done.stderr
    return json.loads(done.stdout) if done.returncode == 0 else None


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("backed", [True, False])
def test_images_of_every_kind_are_taken(tmp_path: Path, options: str, backed: bool) -> None:
    path = tmp_path / "image"
    path.write_bytes(image(options, backed))
    check(path, backed=backed, virtual_size=MIB)


@st.composite
def spoilt_head(draw: st.DrawFn, content: bytes) -> bytes:
    """Fields of the header are set to what hurts, or any bytes are changed."""
    if draw(st.booleans()):
        head = draw(hostile.spoilt(content[:LOWEST]))
        return head + content[len(head) :]
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at, kind = draw(st.sampled_from(FIELDS))
        most = 8 * struct.calcsize(kind)
        number = draw(
            st.one_of(
                st.integers(0, 1 << 16),
                st.builds(lambda bit, less: (1 << bit) - less, st.integers(0, most), st.just(1)),
                st.builds(lambda bit: 1 << bit, st.integers(0, most - 1)),
            )
        )
        struct.pack_into(f">{kind}", changed, at, number)
    return bytes(changed)


FIELDS = (
    (4, "I"),
    (8, "Q"),
    (16, "I"),
    (20, "I"),
    (24, "Q"),
    (32, "I"),
    (36, "I"),
    (40, "Q"),
    (48, "Q"),
    (56, "I"),
    (60, "I"),
    (64, "Q"),
    (72, "Q"),
    (80, "Q"),
    (88, "Q"),
    (96, "I"),
    (100, "I"),
    (104, "I"),
    (112, "I"),
    (116, "I"),
)
"""Of the header, and of the first extension: where, and how wide."""


@pytest.mark.parametrize("options", KINDS)
@examples(12)
@given(data=st.data())
def test_what_is_let_through_is_harmless(
    tmp_path_factory: pytest.TempPathFactory, options: str, data: st.DataObject
) -> None:
    content = data.draw(spoilt_head(image(options)))
    path = tmp_path_factory.getbasetemp() / "spoilt"
    path.write_bytes(content)
    with only_clear_errors():
        check(path)
        head = standing_on(
            content[:MAX_HEAD], backing=BACKING, backing_format="raw", name=path.name
        )
        path.write_bytes(head + content[len(head) :])
        told = told_by_qemu(path)
        if told is not None:
            assert told["full-backing-filename"] == BACKING
            assert told["backing-filename-format"] == "raw"
            assert not told.get("encrypted")
            assert "data-file" not in told["format-specific"]["data"]


@examples(25)
@given(data=st.data())
def test_what_stands_alone_stands_on_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    options = data.draw(st.sampled_from(KINDS))
    content = data.draw(spoilt_head(image(options, data.draw(st.booleans()))))
    path = tmp_path_factory.getbasetemp() / "alone"
    path.write_bytes(content)
    with only_clear_errors():
        check(path, backed=False)
        told = told_by_qemu(path)
        assert told is None or "backing-filename" not in told


def changed(options: str, *fields: tuple[int, str, int]) -> bytes:
    content = bytearray(image(options))
    for at, kind, value in fields:
        struct.pack_into(f">{kind}", content, at, value)
    return bytes(content)


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ((72, "Q", 1 << 5), "features that are unknown"),
        ((72, "Q", 1 << 63), "features that are unknown"),
        ((24, "Q", 1 << 47), "a disk of 140737488355328 bytes"),
        ((36, "I", 1 << 22), "a first table of 33554432 bytes"),
        ((36, "I", (1 << 32) - 1), "a first table of"),
        ((40, "Q", 1 << 40), "a first table outside"),
        ((48, "Q", 1 << 63), "a refcount table outside"),
        ((56, "I", 129), "a refcount table of 8454144 bytes"),
        ((60, "I", 1025), "1025 snapshots"),
        ((64, "Q", 1 << 40), "a table of snapshots outside"),
        ((32, "I", 2), "encrypted"),
        ((96, "I", 7), "2\\^7 bits"),
    ],
)
def test_is_refused(tmp_path: Path, field: tuple[int, str, int], told: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(changed("compat=1.1", field))
    with pytest.raises(FormatError, match=told):
        check(path)


@pytest.mark.parametrize("kind", [0x0537BE77, 0x44415441, 0x23852875])
def test_extensions_that_name_more_are_refused(tmp_path: Path, kind: int) -> None:
    path = tmp_path / "image"
    path.write_bytes(changed("compat=1.1", (112, "I", kind)))
    with pytest.raises(FormatError, match=r"encrypted or keeps|bitmaps"):
        check(path)


def test_a_disk_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(image("compat=1.1"))
    with pytest.raises(FormatError, match="is a disk of 1048576 bytes, the manifest says 5"):
        check(path, virtual_size=5)


def test_a_dirty_image_without_end_is_refused(tmp_path: Path) -> None:
    """QEMU counts the references to each cluster of the file again."""
    content = changed("compat=1.1,cluster_size=512", (72, "Q", 1))
    header_in(content, size=len(content), name="x")
    assert not header_in(content, size=len(content), name="x").faults
    [fault] = header_in(content, size=1 << 43, name="x").faults
    assert "reference counts to be repaired" in fault
