"""Which files stand behind a disk, by the headers of real images."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.errors import DevopsError, FormatError, NotFoundError, UnsupportedError
from devops_snapshot.exporter.files import discover
from devops_snapshot.manifest.document import FileRole
from devops_snapshot.volumes import StoredFiles

from .images import qcow2


def found(*images: Path, memory: tuple[Path, ...] = ()) -> list[tuple[str, str, str | None]]:
    paths = {str(image): "qcow2" for image in images}
    return [
        (Path(file.path).name, file.role.value, file.backing and Path(file.backing).name)
        for file in discover(paths, map(str, memory), StoredFiles())
    ]


def test_whatever_is_below_comes_first_and_once(tmp_path: Path) -> None:
    base = qcow2(tmp_path / "base")
    one, other = qcow2(tmp_path / "one", base), qcow2(tmp_path / "other", base)
    (tmp_path / "memory").write_bytes(b"x" * 10)
    assert found(one, other, memory=(tmp_path / "memory",)) == [
        ("base", "base", None),
        ("one", "overlay", "base"),
        ("other", "overlay", "base"),
        ("memory", "memory", None),
    ]


def test_sizes_are_of_the_file_and_of_what_the_guest_sees(tmp_path: Path) -> None:
    image = qcow2(tmp_path / "image")
    [file] = discover({str(image): "qcow2"}, [], StoredFiles())
    assert (file.size, file.virtual_size) == (image.stat().st_size, 1 << 20)


def test_a_relative_backing_name_is_beside_the_image(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    base = qcow2(tmp_path / "below/base")
    image = qcow2(tmp_path / "image", base, name="below/../below/base")
    files = discover({str(image): "qcow2", str(base): "qcow2"}, [], StoredFiles())
    assert [file.path for file in files] == [str(base), str(image)]
    assert files[1].backing == str(base)


def test_a_raw_disk_is_raw_whatever_a_guest_wrote_into_it(tmp_path: Path) -> None:
    """A qcow2 header in it, naming a file of the host, or a damaged one."""
    image = qcow2(tmp_path / "image", name="/etc/shadow")
    for content in (image.read_bytes(), b"QFI\xfb" + b"\xff" * 508):
        image.write_bytes(content)
        [file] = discover({str(image): "raw"}, [], StoredFiles())
        assert (file.format, file.backing, file.virtual_size) == ("raw", None, len(content))
        assert file.role is FileRole.BASE


def test_a_raw_image_below_is_raw_as_well(tmp_path: Path) -> None:
    base = qcow2(tmp_path / "base", name="/etc/shadow")
    image = qcow2(tmp_path / "image", base, below="raw")
    assert found(image) == [("base", "base", None), ("image", "overlay", "base")]


@pytest.mark.parametrize("name", ["json:{}", "nbd://host/x", "ssh:x", "fat:rw:/etc"])
def test_backing_files_that_are_no_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsupportedError, match="not a plain path"):
        found(qcow2(tmp_path / "image", name=name))


def test_a_chain_in_a_circle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="more than 256 images"):
        found(qcow2(tmp_path / "image", name=str(tmp_path / "image")))


def test_data_in_another_file_and_encryption_are_refused(tmp_path: Path) -> None:
    image = tmp_path / "image"
    options = ["-o", f"data_file={tmp_path / 'data'}"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, image, "1M"], check=True)
    with pytest.raises(UnsupportedError, match="external data file"):
        found(image)
    content = bytearray(qcow2(tmp_path / "other").read_bytes())
    content[32:36] = (2).to_bytes(4, "big")  # crypt_method: LUKS
    image.write_bytes(content)
    with pytest.raises(UnsupportedError, match="encrypted"):
        found(image)


def test_what_no_import_would_take_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    found(image)
    subprocess.run(["qemu-img", "bitmap", "--add", image, "b"], check=True)
    with pytest.raises(UnsupportedError, match=r"bitmaps of changed blocks.*no import would take"):
        found(image)


def test_an_image_of_another_format_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"\0" * 4096)
    with pytest.raises(UnsupportedError, match="used as qcow2"):
        found(image)
    with pytest.raises(UnsupportedError, match="used as vmdk"):
        discover({str(image): "vmdk"}, [], StoredFiles())


def test_a_layer_that_is_missing_is_named(tmp_path: Path) -> None:
    image = qcow2(tmp_path / "image", qcow2(tmp_path / "base"))
    (tmp_path / "base").unlink()
    with pytest.raises(NotFoundError, match=f"{tmp_path}/base.*not there"):
        found(image)
    with pytest.raises(NotFoundError, match=r"memory.*not there"):
        found(memory=(tmp_path / "memory",))


def test_a_damaged_header_is_named(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"QFI\xfb" + b"\xff" * 508)
    with pytest.raises(FormatError, match=str(image)):
        found(image)


@pytest.mark.skipif(os.geteuid() != 0, reason="another user can only be had by root")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    image = qcow2(tmp_path / "image")
    image.chmod(0)
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(DevopsError, match="no permission to read") as caught:
            found(image)
    finally:
        os.seteuid(0)
    assert "root" in caught.value.hint
