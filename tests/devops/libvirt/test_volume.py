"""Volumes, as libvirt and qemu-img report them."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devops_snapshot.devops.libvirt.models import LibvirtVolume
from devops_snapshot.errors import (
    ConflictError,
    HypervisorError,
    NotFoundError,
    TemplateError,
)
from tests.bed import Host

from .builder import MIB, Builder

pytestmark = pytest.mark.usefixtures("database")

BYTES_PER_MIB = 1024**2


def qemu_img(*arguments: object) -> str:
    command = ["qemu-img", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def info(path: str | Path) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(qemu_img("info", "--output=json", path))
    return described


def same_content(one: str | Path, other: str | Path) -> bool:
    return subprocess.run(["qemu-img", "compare", "-q", one, other]).returncode == 0


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A qcow2 image of 8 MiB with some content."""
    raw, path = tmp_path / "raw", tmp_path / "image.qcow2"
    raw.write_bytes(bytes(range(256)) * 8192)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, path)
    qemu_img("resize", "-q", path, "8M")
    return path


@pytest.fixture
def small_pool(alpha: Host) -> Iterator[str]:
    """A pool of 1 MiB."""
    directory = alpha.directory / "small"
    directory.mkdir()
    alpha.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)])
    try:
        pool = alpha.connection.storagePoolDefineXML(
            f"<pool type='dir'><name>small</name><target><path>{directory}</path></target></pool>"
        )
        pool.create()
        yield "small"
    finally:
        alpha.run(["umount", "-l", str(directory)])
        directory.rmdir()


@pytest.mark.parametrize("format_", ["qcow2", "raw"])
def test_an_empty_volume(alpha: Host, format_: str) -> None:
    volume = Builder(alpha).base_image("system", capacity=3 * MIB, format=format_)
    assert not volume.exists()
    assert volume.volume_name == "env_default_system"
    volume.define()
    path = alpha.pool_dir / "env_default_system"
    assert volume.uuid == volume.get_path() == str(path)
    assert volume.volume_name == "env_default_system"
    assert volume.get_capacity() == 3 * BYTES_PER_MIB
    assert (volume.get_allocation() > 0) == (format_ == "qcow2"), "only a header takes room"
    assert info(path)["format"] == format_
    assert info(path)["virtual-size"] == 3 * BYTES_PER_MIB
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    volume.refresh_from_db()
    assert volume.uuid == str(path)
    assert len(volume.serial or "") == 32
    assert len(volume.wwn or "") == 16
    volume.remove()
    assert not path.exists()
    assert not LibvirtVolume.objects.exists()


def test_volumes_of_nodes_bear_the_nodes_name(alpha: Host) -> None:
    node = Builder(alpha).node("admin", volumes=[{"name": "system", "capacity": MIB}])
    volume = node.get_volume(name="system")
    volume.define()
    assert [v.name() for v in volume.driver.pool.listAllVolumes()] == ["env_admin_system"]


def test_serial_and_wwn_that_are_given_stay(alpha: Host) -> None:
    volume = Builder(alpha).base_image(capacity=MIB, serial="s" * 20, wwn="0" * 16)
    volume.define()
    assert (volume.serial, volume.wwn) == ("s" * 20, "0" * 16)


def test_a_source_image_gives_content_and_size(alpha: Host, image: Path) -> None:
    volume = Builder(alpha).base_image(source_image=str(image))
    volume.define()
    assert same_content(image, volume.get_path())
    assert volume.get_capacity() == 8 * BYTES_PER_MIB
    assert volume.capacity is None


def test_a_larger_capacity_grows_a_qcow2_image(alpha: Host, image: Path) -> None:
    volume = Builder(alpha).base_image(source_image=str(image), capacity=20 * MIB)
    volume.define()
    assert same_content(image, volume.get_path())
    assert info(volume.get_path())["virtual-size"] == 20 * BYTES_PER_MIB


def test_a_larger_capacity_grows_a_raw_image(alpha: Host, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(b"content" * 100_000)
    volume = Builder(alpha).base_image(source_image=str(image), capacity=3 * MIB, format="raw")
    volume.define()
    content = Path(volume.get_path()).read_bytes()
    assert content[:700_000] == image.read_bytes()
    assert content[700_000:] == bytes(3 * BYTES_PER_MIB - 700_000)


def test_a_smaller_capacity_gives_way_with_a_warning(
    alpha: Host, image: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = Builder(alpha).base_image(source_image=str(image), capacity=2 * MIB)
    volume.define()
    assert volume.get_capacity() == 8 * BYTES_PER_MIB
    assert "volume 'env_default_base' gets 8388608 bytes" in caplog.text


def test_qcow2_in_a_raw_volume_is_left_as_it_is(alpha: Host, image: Path) -> None:
    volume = Builder(alpha).base_image(source_image=str(image), format="raw")
    volume.define()
    assert Path(volume.get_path()).read_bytes() == image.read_bytes()


def test_a_volume_on_a_base_image_of_the_group(alpha: Host, image: Path) -> None:
    builder = Builder(alpha)
    builder.base_image("base", source_image=str(image)).define()
    system = {"name": "system", "backing_store": "base"}
    larger = {"name": "larger", "backing_store": "base", "capacity": 30 * MIB}
    node = builder.node("admin", volumes=[system, larger])
    for name, size in (("system", 8), ("larger", 30)):
        volume = node.get_volume(name=name)
        volume.define()
        described = info(volume.get_path())
        assert described["virtual-size"] == size * BYTES_PER_MIB
        assert described["backing-filename"] == str(alpha.pool_dir / "env_default_base")
        assert described["backing-filename-format"] == "qcow2"
        assert same_content(image, volume.get_path())


def test_a_volume_on_a_raw_base_image(alpha: Host) -> None:
    builder = Builder(alpha)
    builder.base_image("base", capacity=MIB, format="raw").define()
    node = builder.node("admin", volumes=[{"name": "system", "backing_store": "base"}])
    volume = node.get_volume(name="system")
    volume.define()
    assert info(volume.get_path())["backing-filename-format"] == "raw"


def test_a_volume_on_one_that_somebody_else_put_into_the_pool(alpha: Host, image: Path) -> None:
    (alpha.pool_dir / "shared").write_bytes(image.read_bytes())
    alpha.connection.storagePoolLookupByName("default").refresh()
    volume = Builder(alpha).base_image("system", shared_backing_store_name="shared")
    volume.define()
    assert info(volume.get_path())["backing-filename"] == str(alpha.pool_dir / "shared")
    assert info(volume.get_path())["backing-filename-format"] == "qcow2"
    assert volume.get_capacity() == 8 * BYTES_PER_MIB
    volume.remove()
    assert (alpha.pool_dir / "shared").exists()


def test_children_lie_on_their_parents_and_go_first(alpha: Host) -> None:
    parent = Builder(alpha).node("admin", volumes=[{"name": "system", "capacity": MIB}])
    volume: LibvirtVolume = parent.get_volume(name="system")
    volume.define()
    child = volume.create_child("system.snapshot1")
    child.define()
    assert child.volume_name == "env_admin_system.snapshot1"
    assert info(child.get_path())["backing-filename"] == volume.get_path()
    assert child.get_capacity() == volume.get_capacity()
    assert child.serial != volume.serial
    with pytest.raises(ConflictError, match=r"'system' cannot be removed: 'system\.snapshot1'"):
        volume.remove()
    child.remove()
    volume.remove()
    assert list(alpha.pool_dir.iterdir()) == []


def test_a_file_that_libvirt_has_not_noticed_yet_is_found_and_removed(alpha: Host) -> None:
    volume = Builder(alpha).base_image(capacity=MIB)
    volume.define()
    overlay = alpha.pool_dir / "overlay"
    qemu_img("create", "-q", "-f", "qcow2", overlay, "1M")
    volume.uuid = str(overlay)
    assert volume.exists()
    volume.remove()
    assert not overlay.exists()


def test_a_volume_that_is_gone_is_removed_all_the_same(alpha: Host) -> None:
    volume = Builder(alpha).base_image(capacity=MIB)
    volume.define()
    volume.libvirt_volume.delete()
    assert not volume.exists()
    with pytest.raises(NotFoundError, match="env_default_base' is not there on qemu"):
        volume.get_path()
    volume.remove()
    assert not LibvirtVolume.objects.exists()


def test_an_image_that_does_not_fit_leaves_nothing(
    alpha: Host, small_pool: str, tmp_path: Path
) -> None:
    image = tmp_path / "big.img"
    image.write_bytes(b"x" * 4 * BYTES_PER_MIB)
    builder = Builder(alpha, storage_pool_name=small_pool)
    qcow2 = tmp_path / "big.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", image, qcow2)
    volume = builder.base_image(source_image=str(qcow2))
    with pytest.raises(HypervisorError, match="volume 'env_default_base'"):
        volume.define()
    pool = builder.driver.pool
    pool.refresh()
    assert pool.listVolumes() == []
    volume.refresh_from_db()
    assert volume.uuid is None


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (
            {"multipath_count": 2, "shared_backing_store_name": "shared"},
            TemplateError,
            "only qcow2 can have, not raw",
        ),
        ({}, TemplateError, "neither capacity nor source_image nor backing_store"),
        ({"capacity": "much"}, TemplateError, "capacity of volume '.*' is no number: 'much'"),
        (
            {"capacity": 1, "format": "raw", "shared_backing_store_name": "shared"},
            TemplateError,
            "only qcow2 can have, not raw",
        ),
        (
            {"shared_backing_store_name": "missing"},
            NotFoundError,
            "'missing' is not in storage pool 'default'",
        ),
        (
            {"source_image": "/missing.iso", "format": "raw"},
            NotFoundError,
            "'env_default_base' cannot be read: /missing.iso: No such file or directory",
        ),
        (
            {"source_image": "/dev/null", "format": "raw"},
            TemplateError,
            "source_image of volume '.*' is empty: /dev/null",
        ),
        (
            {"source_image": "/etc/hostname"},
            TemplateError,
            "source_image of volume '.*' is not qcow2, as its format says: /etc/hostname",
        ),
        (
            {"source_image": "/etc/hostname", "shared_backing_store_name": "shared"},
            TemplateError,
            "both a source_image and a backing store",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is(
    alpha: Host, params: dict[str, Any], error: type[Exception], message: str
) -> None:
    volume = Builder(alpha).base_image(**params)
    with pytest.raises(error, match=message):
        volume.define()
    assert list(alpha.pool_dir.iterdir()) == []


def test_a_name_that_is_taken_is_refused_and_left_alone(alpha: Host) -> None:
    path = alpha.pool_dir / "env_default_base"
    path.write_bytes(b"somebody's")
    alpha.connection.storagePoolLookupByName("default").refresh()
    volume = Builder(alpha).base_image(capacity=MIB)
    with pytest.raises(ConflictError, match="volume 'env_default_base' is already there on qemu"):
        volume.define()
    assert path.read_bytes() == b"somebody's"


def test_a_pool_that_is_not_there_is_named_with_those_that_are(alpha: Host) -> None:
    volume = Builder(alpha, storage_pool_name="fast").base_image(capacity=MIB)
    with pytest.raises(NotFoundError, match=r"pool 'fast' is not there on qemu\S+; pools: default"):
        volume.define()


def test_a_pool_that_is_stopped_is_no_place_either(alpha: Host) -> None:
    volume = Builder(alpha).base_image(capacity=MIB)
    alpha.connection.storagePoolLookupByName("default").destroy()
    with pytest.raises(HypervisorError, match=r"'default' on .* is not started.*pool-start"):
        volume.define()
