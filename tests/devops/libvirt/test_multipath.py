"""A volume that its node has as several disks."""

from __future__ import annotations

import logging
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from devops_snapshot.devops.libvirt.models import LibvirtNode
from devops_snapshot.errors import TemplateError
from tests.bed import Host

from .builder import MIB, Builder, volume_of
from .test_volume import qemu_img

pytestmark = pytest.mark.usefixtures("database")


def disks(node: LibvirtNode) -> list[dict[str, str]]:
    """What libvirt has, told apart by target."""
    found = []
    for disk in etree.fromstring(node.domain.XMLDesc()).iterfind("devices/disk"):
        said = {"target": disk.find("target").get("dev"), "bus": disk.find("target").get("bus")}
        said |= {"format": disk.find("driver").get("type"), "file": disk.find("source").get("file")}
        said |= {child.tag: child.text or "" for child in disk if child.tag in ("serial", "wwn")}
        found.append(said | ({"shareable": ""} if disk.find("shareable") is not None else {}))
    return found


def test_every_path_is_a_disk_and_qemu_opens_them(
    alpha: Host, caplog: pytest.LogCaptureFixture
) -> None:
    volumes = [
        {"name": "system", "capacity": MIB},
        {"name": "cinder", "capacity": MIB, "multipath_count": 3, "bus": "virtio"},
        {"name": "swift", "capacity": MIB, "multipath_count": 1},
    ]
    node = Builder(alpha).node("admin", volumes=volumes)
    for volume in node.get_volumes():
        volume.define()
    node.define()
    system, cinder, swift = (volume_of(node, name) for name in ("system", "cinder", "swift"))
    path = {"bus": "scsi", "format": "raw", "file": cinder.uuid, "serial": cinder.serial}
    path |= {"wwn": cinder.wwn, "shareable": ""}
    assert disks(node) == [
        {
            "target": "sda",
            "bus": "virtio",
            "format": "qcow2",
            "file": system.uuid,
            "serial": system.serial,
        },
        *({"target": target, **path} for target in ("sdb", "sdc", "sdd")),
        {
            "target": "sde",
            "bus": "scsi",
            "format": "qcow2",
            "file": swift.uuid,
            "serial": swift.serial,
            "wwn": swift.wwn,
        },
    ]
    assert [disk.multipath_enabled for disk in node.disk_devices] == [False, *[True] * 4]
    cinder.refresh_from_db()
    assert cinder.format == "raw"
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "volume 'env_admin_cinder' becomes raw" in warning.getMessage()
    node.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    node.remove()
    assert list(alpha.pool_dir.iterdir()) == []


def test_paths_begin_at_a_target_that_is_named(alpha: Host) -> None:
    builder = Builder(alpha)
    node = builder.node("admin", volumes=[{"name": "system", "capacity": MIB}])
    volume = builder.group.add_volume("shared", capacity=MIB, multipath_count=2)
    first = node.attach_volume(volume, target_dev="sdd")
    assert first.target_dev == "sdd"
    assert [disk.target_dev for disk in node.disk_devices] == ["sda", "sdd", "sdb"]


def test_a_qcow2_image_over_several_paths_is_refused(alpha: Host, tmp_path: Path) -> None:
    image = tmp_path / "image"
    qemu_img("create", "-q", "-f", "qcow2", image, "1M")
    volume = Builder(alpha).base_image(source_image=str(image), multipath_count=2)
    with pytest.raises(TemplateError, match=r"is qcow2, which cannot .* over several paths.*raw"):
        volume.define()
    qemu_img("convert", "-O", "raw", image, tmp_path / "raw")
    volume.source_image = str(tmp_path / "raw")
    volume.define()
    assert volume.get_capacity() == 1024**2
