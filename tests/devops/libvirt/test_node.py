"""Nodes, as libvirt reports them, and as their guests behave."""

from __future__ import annotations

import time
from pathlib import Path

import libvirt
import libvirt_qemu
import pytest
from django.test import override_settings

from devops_snapshot.devops.libvirt.models import LibvirtNode, LibvirtVolume
from devops_snapshot.devops.models import DiskDevice, Interface
from devops_snapshot.errors import (
    ConflictError,
    HypervisorError,
    NotFoundError,
    TemplateError,
    UnsupportedError,
)
from tests.bed import Bed, Host

from .builder import MIB, Builder
from .semantic import ADDED_TO_DOMAINS, said

pytestmark = pytest.mark.usefixtures("database")

HMP = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
SECURE = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE


def reported(node: LibvirtNode) -> object:
    """libvirt's XML, without what it added itself."""
    without = [path for path in ADDED_TO_DOMAINS if path != "cpu"]
    return said(node.domain.XMLDesc(SECURE), without=[*without, "cpu/@check", "cpu/@migratable"])


def define(node: LibvirtNode) -> LibvirtNode:
    """Define a node with its volumes, as a group does."""
    for volume in node.get_volumes():
        volume.define()
    node.define()
    return node


def test_everything_that_a_node_can_have(alpha: Host) -> None:
    builder = Builder(
        alpha,
        hpet=True,
        use_host_cpu=True,
        use_hugepages=True,
        reboot_timeout=10000,
        vnc_password="secret",
    )
    builder.network("admin").define()
    node = builder.node(
        "slave-01",
        vcpu=3,
        memory=768,
        boot=["network", "cdrom", "hd"],
        bootmenu_timeout=3000,
        numa=[{"cpus": "0-1", "memory": 512}, {"cpus": 2, "memory": 256}],
        volumes=[
            {"name": "system", "capacity": MIB, "serial": "a" * 20},
            {"name": "cinder", "capacity": MIB, "serial": "b" * 20, "bus": "scsi"},
            {"name": "stick", "capacity": MIB, "serial": "c" * 20, "bus": "usb", "format": "raw"},
            {
                "name": "iso",
                "source_image": "/etc/hostname",
                "serial": "d" * 20,
                "format": "raw",
                "device": "cdrom",
                "bus": "ide",
            },
        ],
        interfaces=[
            {
                "label": f"eth{index}",
                "l2_network_device": "admin",
                "mac_address": f"64:00:00:00:00:0{index}",
                "interface_model": model,
            }
            for index, model in enumerate(("e1000", "virtio"))
        ],
    )
    define(node)
    pool = alpha.pool_dir
    assert reported(node) == said(f"""
        <domain type='qemu'>
          <name>env_slave-01</name>
          <memory unit='KiB'>786432</memory>
          <memoryBacking><hugepages/></memoryBacking>
          <vcpu>3</vcpu>
          <os>
            <type arch='x86_64'>hvm</type>
            <boot dev='network'/><boot dev='cdrom'/><boot dev='hd'/>
            <bootmenu enable='yes' timeout='3000'/>
            <bios rebootTimeout='10000'/>
          </os>
          <features><acpi/></features>
          <cpu mode='maximum'>
            <numa>
              <cell id='0' cpus='0-1' memory='524288' unit='KiB'/>
              <cell id='1' cpus='2' memory='262144' unit='KiB'/>
            </numa>
          </cpu>
          <clock offset='utc'>
            <timer name='rtc' tickpolicy='catchup' track='wall'>
              <catchup threshold='123' slew='120' limit='10000'/>
            </timer>
            <timer name='pit' tickpolicy='delay'/>
            <timer name='hpet' present='yes'/>
          </clock>
          <devices>
            <emulator>/usr/bin/qemu-system-x86_64</emulator>
            <disk type='file' device='disk'>
              <driver name='qemu' type='qcow2' cache='unsafe'/>
              <source file='{pool}/env_slave-01_system'/>
              <target dev='sda' bus='virtio'/>
              <serial>{"a" * 20}</serial>
            </disk>
            <disk type='file' device='disk'>
              <driver name='qemu' type='qcow2' cache='unsafe'/>
              <source file='{pool}/env_slave-01_cinder'/>
              <target dev='sdb' bus='scsi'/>
              <serial>{"b" * 20}</serial>
            </disk>
            <disk type='file' device='disk'>
              <driver name='qemu' type='raw' cache='unsafe'/>
              <source file='{pool}/env_slave-01_stick'/>
              <target dev='sdc' bus='usb' removable='on'/>
              <readonly/>
              <serial>{"c" * 20}</serial>
            </disk>
            <disk type='file' device='cdrom'>
              <driver name='qemu' type='raw' cache='unsafe'/>
              <source file='{pool}/env_slave-01_iso'/>
              <target dev='sdd' bus='ide'/>
              <serial>{"d" * 20}</serial>
            </disk>
            <controller type='usb' model='nec-xhci'/>
            <interface type='network'>
              <mac address='64:00:00:00:00:00'/>
              <source network='env_admin'/>
              <model type='e1000'/>
            </interface>
            <interface type='network'>
              <mac address='64:00:00:00:00:01'/>
              <source network='env_admin'/>
              <model type='virtio'/>
            </interface>
            <serial type='pty'><target port='0'/></serial>
            <console type='pty'><target type='serial' port='0'/></console>
            <graphics type='vnc' listen='0.0.0.0' autoport='yes' passwd='secret'/>
            <video><model type='vga' heads='1'/></video>
          </devices>
        </domain>""")
    assert node.domain.UUIDString() == node.uuid
    node.refresh_from_db()
    assert node.uuid


def test_a_node_without_screen(alpha: Host) -> None:
    node = define(Builder(alpha).node("n", has_vnc=False, has_videocard=False))
    assert "graphics" not in node.domain.XMLDesc()
    node.start()
    assert node.get_vnc_port() is None


def test_an_empty_drive(alpha: Host) -> None:
    node = Builder(alpha).node("n")
    node.driver.get_model_class("DiskDevice").objects.create(
        node=node, volume=None, device="cdrom", bus="ide", target_dev="sda"
    )
    define(node)
    node.start()
    assert "<target dev='sda' bus='ide'" in node.domain.XMLDesc()


def test_long_names_find_each_other(alpha: Host) -> None:
    builder = Builder(alpha)
    builder.network("n" * 90).define()
    interface = {"label": "eth0", "l2_network_device": "n" * 90}
    node = define(builder.node("s" * 90, interfaces=[interface]))
    assert len(node.domain.name()) == 80
    network = alpha.connection.listAllNetworks()[0].name()
    assert len(network) == 80
    assert f"<source network='{network}'/>" in node.domain.XMLDesc()


def test_the_life_of_a_guest(alpha: Host, bed: Bed) -> None:
    """The CPU is all that emulation has."""
    node = define(Builder(alpha, use_host_cpu=True).bootable_node("admin", bed.guest_iso))
    guest = alpha.guest(node.domain_name)
    assert node.state() == "shutoff"
    assert not node.is_active()
    for change_nothing in (node.destroy, node.suspend, node.resume):
        change_nothing()
    assert node.get_vnc_port() is None

    for _ in range(2):
        node.start()
    guest.wait_boot()
    assert node.state() == "running"
    assert int(node.get_vnc_port() or 0) >= 5900
    guest.run("echo still here > /run/marker")
    assert guest.run("cat /sys/block/vda/serial") == node.get_volume(name="system").serial[:20]

    for _ in range(2):
        node.suspend()
        assert node.state() == "paused"
    assert node.is_active()
    node.start()
    assert node.state() == "paused"
    for _ in range(2):
        node.resume()
    assert node.state() == "running"
    assert guest.run("cat /run/marker") == "still here"

    node.suspend()
    node.reset()
    registers = libvirt_qemu.qemuMonitorCommand(node.domain, "info registers", HMP)
    assert "EIP=0000fff0" in registers, "it is not where processors begin"

    node.resume()
    node.reboot()
    node.shutdown()
    for _ in range(2):
        node.destroy()
        assert node.state() == "shutoff"
    for ask in (node.reset, node.reboot, node.shutdown):
        with pytest.raises(HypervisorError, match=r"domain 'env_admin' on .* is not running"):
            ask()


def test_a_removed_node_leaves_nothing(alpha: Host) -> None:
    builder = Builder(alpha)
    base = builder.base_image(capacity=MIB)
    base.define()
    network = builder.network("admin")
    network.define()
    network.start()
    node = builder.node(
        "admin",
        volumes=[
            {"name": "system", "backing_store": "base"},
            {"name": "data", "capacity": MIB, "format": "raw"},
        ],
        interfaces=[{"label": "eth0", "l2_network_device": "admin"}],
    )
    define(node)
    system: LibvirtVolume = node.get_volume(name="system")
    top = _overlays_with_falling_ids(system)
    node.disk_devices.filter(volume=system).update(volume=top)
    node.start()
    node.remove()
    assert alpha.connection.listAllDomains() == []
    assert [path.name for path in alpha.pool_dir.iterdir()] == ["env_default_base"]
    assert [volume.name for volume in LibvirtVolume.objects.all()] == ["base"]
    for model in (LibvirtNode, DiskDevice, Interface):
        assert not model.objects.exists()
    base.remove()
    assert list(alpha.pool_dir.iterdir()) == []


def _overlays_with_falling_ids(volume: LibvirtVolume) -> LibvirtVolume:
    """Two overlays on the volume, of which the upper one has the smaller id."""
    upper, lower = volume.create_child("system.upper"), volume.create_child("system.lower")
    upper.backing_store = lower
    upper.save()
    lower.define()
    upper.define()
    assert upper.pk < lower.pk
    return upper


def test_memory_files_go_with_their_node_if_they_are_ours(
    alpha: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    snapshots, elsewhere = tmp_path / "snap", tmp_path / "elsewhere"
    for directory in (snapshots, elsewhere):
        directory.mkdir()
    node = define(Builder(alpha).node("admin", volumes=[{"name": "system", "capacity": MIB}]))
    node.start()
    files = [directory / "memory" for directory in (alpha.pool_dir, snapshots, elsewhere)]
    for index, file in enumerate(files):
        node.domain.snapshotCreateXML(f"""
            <domainsnapshot><name>snapshot{index}</name>
              <memory snapshot='external' file='{file}'/>
              <disks><disk name='sda' snapshot='no'/></disks>
            </domainsnapshot>""")
    assert node.has_snapshot("snapshot1")
    assert not node.has_snapshot("snapshot9")
    assert len(node.get_snapshots()) == 3
    node.domain.managedSave()
    with override_settings(SNAPSHOTS_EXTERNAL_DIR=snapshots):
        node.remove()
    assert [file.exists() for file in files] == [False, False, True]
    assert f"memory file {files[2]} stays behind" in caplog.text
    assert list(alpha.pool_dir.iterdir()) == []
    assert alpha.connection.listAllDomains() == []


def test_a_node_that_libvirt_lost_is_removed_all_the_same(alpha: Host) -> None:
    node = define(Builder(alpha).node("admin", volumes=[{"name": "system", "capacity": MIB}]))
    node.domain.undefine()
    assert not node.exists()
    assert not node.is_active()
    node.destroy()
    for impossible in (node.start, node.suspend, node.resume, node.reset, node.state):
        with pytest.raises(NotFoundError, match="domain 'env_admin' is not there on qemu"):
            impossible()
    node.remove()
    assert list(alpha.pool_dir.iterdir()) == []
    assert not LibvirtNode.objects.exists()


def test_a_node_that_was_never_defined_is_removed(alpha: Host) -> None:
    node = Builder(alpha).node("admin", volumes=[{"name": "system", "capacity": MIB}])
    node.remove()
    assert not LibvirtNode.objects.exists()
    assert not LibvirtVolume.objects.exists()


def test_another_architecture_has_another_emulator(alpha: Host) -> None:
    node = define(Builder(alpha).node("admin", architecture="i686"))
    assert "<type arch='i686'" in node.domain.XMLDesc()
    assert "<emulator>/usr/bin/qemu-system-i386</emulator>" in node.domain.XMLDesc()


def test_a_node_whose_network_is_down_does_not_start(alpha: Host) -> None:
    builder = Builder(alpha)
    builder.network("admin").define()
    interface = {"label": "eth0", "l2_network_device": "admin"}
    node = define(builder.node("admin", interfaces=[interface]))
    started = time.monotonic()
    with pytest.raises(HypervisorError, match=r"cannot start domain 'env_admin' on qemu.*: .+"):
        node.start()
    assert time.monotonic() - started < 5
    assert node.state() == "shutoff"


def test_a_node_whose_volume_is_not_there_is_refused(alpha: Host) -> None:
    node = Builder(alpha).node("admin", volumes=[{"name": "system", "capacity": MIB}])
    with pytest.raises(NotFoundError, match="volume 'env_admin_system' is not there on qemu"):
        node.define()
    assert alpha.connection.listAllDomains() == []


def test_a_name_that_is_taken_is_refused_and_left_alone(alpha: Host) -> None:
    there = alpha.connection.defineXML(
        "<domain type='qemu'><name>env_admin</name><memory>1024</memory>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )
    before = there.XMLDesc()
    node = Builder(alpha).node("admin")
    with pytest.raises(ConflictError, match="domain 'env_admin' is already there on qemu"):
        node.define()
    assert there.XMLDesc() == before


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"hypervisor": "test"}, "hypervisor 'test' of node 'admin' is not supported"),
        ({"bmc_network": "admin", "bmc_port": 6000}, "bmc_network of node 'admin'"),
        ({"interfaces": [{"label": "eth0"}]}, "interface 'eth0' of node 'admin' has no l2_network"),
    ],
)
def test_what_is_not_supported_is_refused(
    alpha: Host, params: dict[str, object], message: str
) -> None:
    node = Builder(alpha).node("admin", **params)
    with pytest.raises(UnsupportedError, match=message):
        node.define()
    assert alpha.connection.listAllDomains() == []


def test_a_vnc_password_that_is_too_long_is_refused(alpha: Host) -> None:
    builder = Builder(alpha, vnc_password="123456789")
    with pytest.raises(TemplateError, match=r"vnc_password .* longer than 8 characters"):
        builder.node("admin").define()
    builder.node("slave-01", has_vnc=False).define()


@pytest.mark.parametrize("cell", [{"cpus": "0"}, {"cpus": "0", "memory": "much"}, "0-1"])
def test_numa_cells_that_make_no_sense_are_refused(alpha: Host, cell: object) -> None:
    node = Builder(alpha).node("admin", numa=[{"cpus": "0", "memory": 64}, cell])
    with pytest.raises(TemplateError, match=r"numa of node 'admin' has .*A cell has cpus"):
        node.define()
