"""``lab-7`` of ``tests/devops/fuel_devops_3_0_5.sql``, as fuel-devops left it in libvirt.

Nothing here uses this project's code: rows come from the dump, images from ``qemu-img``, networks,
domains and the external snapshot ``deployed`` from XML written by hand.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import libvirt

from tests.bed import Bed, Host, Postgres
from tests.devops.databases import DUMP

ENVIRONMENT = "lab-7"
SNAPSHOT = "deployed"
POOL = "images"

NETWORKS = """
<network>
  <name>lab-7_admin</name><uuid>6d1dbfb5-2a0e-4d5c-9d8b-0f7a52f4a1c3</uuid>
  <bridge name='virbr10' stp='on' delay='0'/><forward mode='nat'/>
  <ip address='10.77.0.1' prefix='24'><dhcp>
    <range start='10.77.0.3' end='10.77.0.200'/>
    <host mac='64:0a:1b:2c:3d:4e' ip='10.77.0.2' name='admin'/>
    <host mac='64:5f:60:71:82:93' ip='10.77.0.3' name='slave-01'/>
  </dhcp></ip>
</network>
---
<network>
  <name>lab-7_private</name><uuid>0b8c1de4-93f5-4f0b-8a35-6cb7d0f59d10</uuid>
  <bridge name='virbr11' stp='on' delay='0'/>
  <ip address='10.77.1.1' prefix='24'/>
</network>
"""
DOMAIN = """
<domain type='qemu'>
  <name>lab-7_{node}</name><uuid>{uuid}</uuid>
  <vcpu>1</vcpu><memory unit='KiB'>131072</memory>
  <clock offset='utc'>
    <timer name='rtc' tickpolicy='catchup' track='wall'>
      <catchup threshold='123' slew='120' limit='10000'/>
    </timer>
    <timer name='pit' tickpolicy='delay'/><timer name='hpet' present='no'/>
  </clock>
  <os><type arch='x86_64'>hvm</type><boot dev='cdrom'/><boot dev='hd'/></os>
  <devices>
    <controller type='usb' model='nec-xhci'/>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <graphics type='vnc' listen='0.0.0.0' autoport='yes'/>
    {disks}
    {interfaces}
    <video><model type='vga' vram='9216' heads='1'/></video>
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>
  </devices>
</domain>
"""
DISK = """
    <disk type='file' device='{device}'>
      <driver name='qemu' type='{format}' cache='unsafe'/>
      <source file='{file}'/><target dev='{target}' bus='{bus}'/><serial>{serial}</serial>
    </disk>"""
INTERFACE = """
    <interface type='network'>
      <mac address='{mac}'/><source network='lab-7_{network}'/><model type='{model}'/>
    </interface>"""
OVERLAYS = {"admin": "lab-7_admin_golden", "slave-01": "lab-7_slave-01_system"}


def load_rows(server: Postgres, host: Host, images: Path) -> None:
    """The dump, with the paths and the libvirt of this host, into its PostgreSQL."""
    dump = host.directory / "fuel_devops.sql"
    text = DUMP.read_text().replace("/srv/images/", f"{images}/")
    dump.write_text(text.replace("qemu:///system", host.uri))
    server.load(dump)


def make_objects(bed: Bed, host: Host) -> Path:
    """Pool, images, networks and running domains; returns the pool's directory."""
    images = host.directory / "images_of_lab"
    shutil.rmtree(images, ignore_errors=True)
    images.mkdir()
    pool = host.connection.storagePoolDefineXML(
        f"<pool type='dir'><name>{POOL}</name><target><path>{images}</path></target></pool>"
    )
    pool.create()
    _make_images(images, bed.guest_iso)
    for network in NETWORKS.split("---"):
        host.connection.networkDefineXML(network).create()
    pool.refresh()
    for definition in (_admin(images), _slave(images)):
        host.connection.defineXML(definition).create()
    return images


def _make_images(images: Path, iso: Path) -> None:
    golden, admin = images / "lab-7_default_golden", images / "lab-7_admin_system"
    _qemu_img("create", "-f", "qcow2", golden, "512M")
    subprocess.run(
        ["qemu-io", "-c", "write -P 7 0 4M", str(golden)], check=True, capture_output=True
    )
    _qemu_img("create", "-f", "qcow2", "-b", golden, "-F", "qcow2", admin)
    _qemu_img("create", "-f", "qcow2", images / "lab-7_slave-01_system", "1G")
    shutil.copy(iso, images / "lab-7_admin_iso")


def _qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


def _admin(images: Path) -> str:
    disk = DISK.format(
        device="disk",
        format="qcow2",
        file=images / "lab-7_admin_system",
        target="sda",
        bus="virtio",
        serial="c0ffee0012344321a1b2c3d4e5f60718",
    )
    cdrom = DISK.format(
        device="cdrom",
        format="raw",
        file=images / "lab-7_admin_iso",
        target="sdb",
        bus="ide",
        serial="0102030405060708090a0b0c0d0e0f10",
    )
    interface = INTERFACE.format(mac="64:0a:1b:2c:3d:4e", network="admin", model="e1000")
    return DOMAIN.format(
        node="admin",
        uuid="f3c2a4de-6d2b-4f57-9f0c-1d3e7b9a5c21",
        disks=disk + cdrom,
        interfaces=interface,
    )


def _slave(images: Path) -> str:
    disk = DISK.format(
        device="disk",
        format="qcow2",
        file=images / "lab-7_slave-01_system",
        target="sda",
        bus="virtio",
        serial="9f8e7d6c5b4a39281706f5e4d3c2b1a0",
    )
    interfaces = INTERFACE.format(
        mac="64:5f:60:71:82:93", network="admin", model="virtio"
    ) + INTERFACE.format(mac="64:a4:b5:c6:d7:e8", network="private", model="virtio")
    return DOMAIN.format(
        node="slave-01",
        uuid="1f2e3d4c-5b6a-4798-8f9e-0a1b2c3d4e5f",
        disks=disk,
        interfaces=interfaces,
    )


def take_snapshot(host: Host, images: Path) -> None:
    """External, with memory under ``~/.devops/snap``; the guests stay suspended, as ever there."""
    memory = host.home / ".devops/snap"
    memory.mkdir(parents=True)
    for node, base in OVERLAYS.items():
        domain = host.connection.lookupByName(f"lab-7_{node}")
        below = "lab-7_admin_system" if node == "admin" else "lab-7_slave-01_system"
        overlay = images / f"{base}.{SNAPSHOT}"
        _qemu_img("create", "-f", "qcow2", "-b", images / below, "-F", "qcow2", overlay)
        domain.suspend()
        domain.snapshotCreateXML(
            f"<domainsnapshot><name>{SNAPSHOT}</name>"
            f"<memory file='{memory}/snapshot-memory-lab-7_{node}.{SNAPSHOT}'"
            " snapshot='external'/><disks>"
            f"<disk name='sda' snapshot='external'><source file='{overlay}'/></disk>"
            "</disks></domainsnapshot>",
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT,
        )
    host.connection.storagePoolLookupByName(POOL).refresh()
