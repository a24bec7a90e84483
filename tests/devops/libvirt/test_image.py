"""Sizes of image files, as qemu-img says them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from devops_snapshot.devops.libvirt.image import Image, read_image

MIB = 1024**2


def test_virtual_size_of_qcow2_comes_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "5G"], check=True)
    image = read_image(path)
    assert image == Image("qcow2", path.stat().st_size, 5 * 1024 * MIB)
    assert image.file_size < MIB


def test_anything_else_is_raw(tmp_path: Path) -> None:
    path = tmp_path / "image.raw"
    path.write_bytes(b"x" * 1000)
    assert read_image(path) == Image("raw", 1000, 1000)


@pytest.mark.parametrize("content", [b"", b"QFI\xfb", b"QFI\xfb" + b"\0" * 20])
def test_a_cut_header_is_raw(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image"
    path.write_bytes(content)
    assert read_image(path).format == "raw"


def test_an_image_that_is_not_there_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "nothing")
