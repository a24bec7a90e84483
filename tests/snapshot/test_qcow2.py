"""Headers of images, as qemu-img writes them and as nobody should."""

from __future__ import annotations

import struct
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devops_snapshot.errors import FormatError
from devops_snapshot.qcow2 import MAX_HEAD, ImageHeader, read_header, standing_on

MIB = 1 << 20


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


@pytest.mark.parametrize("version", ["0.10", "1.1"])
def test_an_overlay(tmp_path: Path, version: str) -> None:
    base, image = tmp_path / "base with ümläut.raw", tmp_path / "image"
    base.write_bytes(bytes(MIB))
    qemu_img("create", "-f", "qcow2", "-o", f"compat={version}", "-b", base, "-F", "raw", image)
    assert read_header(image) == ImageHeader("qcow2", MIB, str(base), "raw")


def test_internal_snapshots_are_counted(tmp_path: Path) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", image, "5G")
    assert read_header(image) == ImageHeader("qcow2", 5 << 30)
    for name in ("one", "two"):
        qemu_img("snapshot", "-c", name, image)
    assert read_header(image).internal_snapshots == 2


def test_guest_data_in_another_file(tmp_path: Path) -> None:
    image, data = tmp_path / "image", tmp_path / "data"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={data}", image, "1M")
    assert read_header(image).data_file


def test_encrypted(tmp_path: Path) -> None:
    content = bytearray(overlay())
    struct.pack_into(">I", content, 32, 2)  # LUKS
    image = tmp_path / "image"
    image.write_bytes(content)
    assert read_header(image).encrypted


@pytest.mark.parametrize("content", [b"", b"QFI", b"\x7fELF" + bytes(600)])
def test_anything_else_is_raw(tmp_path: Path, content: bytes) -> None:
    image = tmp_path / "image"
    image.write_bytes(content)
    assert read_header(image) == ImageHeader("raw", len(content))


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "nothing")


@cache
def overlay() -> bytes:
    """The first cluster of a real overlay."""
    with TemporaryDirectory() as directory:
        base, image = Path(directory, "base"), Path(directory, "image")
        qemu_img("create", "-f", "qcow2", base, "1M")
        qemu_img("create", "-f", "qcow2", "-b", base, "-F", "qcow2", image)
        return image.read_bytes()[:65536]


BACKING_OFFSET, BACKING_SIZE, CLUSTER_BITS, HEADER_LENGTH = (
    (8, "Q"),
    (16, "I"),
    (20, "I"),
    (100, "I"),
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ((4, "I"), 4),  # version
        (CLUSTER_BITS, 8),
        (CLUSTER_BITS, 64),
        (BACKING_OFFSET, 1 << 20),
        (BACKING_OFFSET, (1 << 64) - 1),
        (BACKING_SIZE, 1024),
        (HEADER_LENGTH, 72),
        (HEADER_LENGTH, 1 << 31),
    ],
)
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, field: tuple[int, str], value: int
) -> None:
    content = bytearray(overlay())
    struct.pack_into(f">{field[1]}", content, field[0], value)
    image = tmp_path / "image"
    image.write_bytes(content)
    with pytest.raises(FormatError, match="damaged"):
        read_header(image)


def test_a_backing_name_that_ends_early_is_refused(tmp_path: Path) -> None:
    """To QEMU, a name ends at the first NUL: it would open another file than the one we checked."""
    content = bytearray(overlay())
    (offset,) = struct.unpack_from(">Q", content, 8)
    content[offset + 3] = 0
    image = tmp_path / "image"
    image.write_bytes(content)
    with pytest.raises(FormatError):
        read_header(image)


@pytest.mark.parametrize("version", ["0.10", "1.1"])
@pytest.mark.parametrize("cluster", [512, 65536, 1 << 21])
def test_another_backing_file(tmp_path: Path, version: str, cluster: int) -> None:
    """What ``qemu-img rebase -u`` does, with nothing opened."""
    bases = [tmp_path / "first", tmp_path / ("second, with ümläut" + "y" * 150)]
    for base in bases:
        base.write_bytes(b"base" * (MIB // 4))
    image = tmp_path / "image"
    options = f"compat={version},cluster_size={cluster}"
    qemu_img("create", "-f", "qcow2", "-o", options, "-b", bases[0], "-F", "raw", image)
    qemu_img("bench", "-w", "-c", "1", "-s", "4096", "--pattern=7", image)
    content = image.read_bytes()
    head = standing_on(
        content[:MAX_HEAD], backing=str(bases[1]), backing_format="raw", name="image"
    )
    assert len(head) == cluster
    image.write_bytes(head + content[cluster:])
    assert read_header(image) == ImageHeader("qcow2", MIB, str(bases[1]), "raw")
    bases[0].unlink()
    qemu_img("check", "-f", "qcow2", image)
    qemu_img("convert", "-f", "qcow2", "-O", "raw", image, tmp_path / "seen")
    assert (tmp_path / "seen").read_bytes() == b"\7" * 4096 + b"base" * ((MIB - 4096) // 4)


def test_an_image_that_stood_on_nothing(tmp_path: Path) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-f", "qcow2", image, "1M")
    head = standing_on(image.read_bytes(), backing="/b", backing_format="qcow2", name="image")
    image.write_bytes(head + image.read_bytes()[len(head) :])
    assert read_header(image) == ImageHeader("qcow2", MIB, "/b", "qcow2")


@pytest.mark.parametrize(
    ("content", "backing"),
    [(b"raw" * 1000, "/b"), (b"", "/b"), (overlay()[:80], "/b"), (overlay(), "/" + "b" * 1023)],
)
def test_no_place_for_a_backing_file(content: bytes, backing: str) -> None:
    with pytest.raises(FormatError):
        standing_on(content, backing=backing, backing_format="qcow2", name="image")


@settings(max_examples=400, deadline=None)
@given(
    changes=st.dictionaries(st.integers(0, 700), st.integers(0, 255), max_size=24),
    length=st.integers(4, 65536),
)
def test_a_header_or_an_error_but_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, changes: dict[int, int], length: int
) -> None:
    content = bytearray(overlay())
    for offset, byte in changes.items():
        content[offset] = byte
    _read(tmp_path_factory, bytes(content[:length]))


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=300))
def test_random_bytes_after_the_magic(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    _read(tmp_path_factory, b"QFI\xfb\0\0\0\x03" + content)


def _read(directories: pytest.TempPathFactory, content: bytes) -> None:
    image = directories.getbasetemp() / "fuzzed"
    image.write_bytes(content)
    with suppress(FormatError):
        assert isinstance(read_header(image), ImageHeader)
        head = standing_on(content, backing="/b", backing_format="raw", name="image")
        image.write_bytes(head + content[len(head) :])
        assert read_header(image).backing_file == "/b"
