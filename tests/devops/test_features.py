"""Whole templates become what they say, XML by XML, and go without a trace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.bed import Host
from tests.journey.scenario import Place

from .libvirt.semantic import ADDED_TO_DOMAINS, said
from .libvirt.test_cloud_init import read_iso

TEMPLATES = Path(__file__).with_name("templates")
SECURE = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE
CHOSEN = ("uuid", "mac", "bridge/@name", "@chain")
"""What libvirt chooses for networks and filters."""

RANDOM = ("devices/disk/serial", "devices/interface/mac")
BY_HOST = ("@type", "cpu/@mode")
"""KVM or emulation."""

CLOCK = """
  <clock offset='utc'>
    <timer name='rtc' tickpolicy='catchup' track='wall'>
      <catchup threshold='123' slew='120' limit='10000'/>
    </timer>
    <timer name='pit' tickpolicy='delay'/>
    <timer name='hpet' present='no'/>
  </clock>"""
TERMINAL = """
    <serial type='pty'><target port='0'/></serial>
    <console type='pty'><target type='serial' port='0'/></console>"""

ALL_NETWORKS = {
    "all_admin": """
<network>
  <name>all_admin</name><forward mode='nat'/><bridge stp='on' delay='0'/>
  <ip address='10.79.0.1' prefix='24'>
    <dhcp>
      <range start='10.79.0.20' end='10.79.0.90'/>
      <host mac='64:0a:00:00:00:01' name='server' ip='10.79.0.10'/>
    </dhcp>
  </ip>
</network>""",
    "all_public": """
<network>
  <name>all_public</name><forward mode='route'/><bridge stp='off' delay='0'/>
  <ip address='10.79.1.1' prefix='24'/>
</network>""",
    "all_trunk": "<network><name>all_trunk</name><bridge stp='off' delay='0'/></network>",
    "all_lan": "<network><name>all_lan</name><forward mode='bridge'/><bridge/></network>",
}
ALL_FILTERS = {
    **{name: f"<filter name='{name}'/>" for name in ALL_NETWORKS},
    **{
        f"{network}_{mac}": f"""
<filter name='{network}_{mac}'><filterref filter='{network}'/></filter>"""
        for network, mac in (
            ("all_admin", "64:0a:00:00:00:01"),
            ("all_trunk", "64:0a:00:00:00:02"),
            ("all_lan", "64:0a:00:00:00:03"),
        )
    },
}
ALL_DOMAINS = {
    "all_server": f"""
<domain type='qemu'>
  <name>all_server</name>
  <memory unit='KiB'>98304</memory>
  <memoryBacking><hugepages/></memoryBacking>
  <vcpu>3</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <boot dev='network'/><boot dev='cdrom'/><boot dev='hd'/>
    <bootmenu enable='yes' timeout='3000'/>
    <bios rebootTimeout='5000'/>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'>
    <numa>
      <cell id='0' cpus='0-1' memory='65536' unit='KiB'/>
      <cell id='1' cpus='2' memory='32768' unit='KiB'/>
    </numa>
  </cpu>{CLOCK}
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe'/>
      <source file='POOL/all_server_system'/>
      <target dev='sda' bus='virtio'/>
      <serial>5e71a100000000000001</serial>
    </disk>
    {
        "".join(
            f'''<disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='unsafe'/>
      <source file='POOL/all_server_shared'/>
      <target dev='{target}' bus='scsi'/>
      <shareable/>
      <serial>5e71a100000000000002</serial>
      <wwn>0a1b2c3d4e5f6071</wwn>
    </disk>'''
            for target in ("sdb", "sdc")
        )
    }
    <disk type='file' device='cdrom'>
      <driver name='qemu' type='raw' cache='unsafe'/>
      <source file='POOL/all_server_seed'/>
      <target dev='sdd' bus='ide'/>
      <serial>5e71a100000000000003</serial>
    </disk>
    <controller type='usb' model='nec-xhci'/>
    <interface type='network'>
      <mac address='64:0a:00:00:00:01'/>
      <source network='all_admin'/><model type='e1000'/>
      <filterref filter='all_admin_64:0a:00:00:00:01'/>
    </interface>
    <interface type='network'>
      <mac address='64:0a:00:00:00:02'/>
      <source network='all_trunk'/><model type='virtio'/>
      <filterref filter='all_trunk_64:0a:00:00:00:02'/>
    </interface>
    <interface type='network'>
      <mac address='64:0a:00:00:00:03'/>
      <source network='all_lan'/><model type='virtio'/>
      <filterref filter='all_lan_64:0a:00:00:00:03'/>
    </interface>{TERMINAL}
    <graphics type='vnc' listen='0.0.0.0' autoport='yes' passwd='geheim'/>
    <video><model type='vga' heads='1'/></video>
  </devices>
</domain>""",
    "all_stick": f"""
<domain type='qemu'>
  <name>all_stick</name>
  <memory unit='KiB'>65536</memory>
  <memoryBacking><hugepages/></memoryBacking>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <boot dev='hd'/>
    <bios rebootTimeout='5000'/>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'/>{CLOCK}
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe'/>
      <source file='POOL/all_stick_system'/>
      <target dev='sda' bus='scsi'/>
      <serial>5e71a100000000000004</serial>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='unsafe'/>
      <source file='POOL/all_stick_usb'/>
      <target dev='sdb' bus='usb' removable='on'/>
      <readonly/>
      <serial>5e71a100000000000005</serial>
    </disk>
    <controller type='usb' model='nec-xhci'/>{TERMINAL}
  </devices>
</domain>""",
}
BOND_NETWORKS = {
    f"bond_{name}": f"<network><name>bond_{name}</name><bridge stp='on' delay='0'/>{rest}</network>"
    for name, rest in {
        "admin": "<forward mode='nat'/><ip address='10.79.0.1' prefix='24'/>",
        "openstack_br": "",
        "public": "<forward mode='nat'/><ip address='10.79.1.1' prefix='24'/>",
        "storage": "<ip address='10.79.2.1' prefix='24'/>",
        "management": "<ip address='10.79.3.1' prefix='24'/>",
        "private": "<ip address='10.79.4.1' prefix='24'/>",
    }.items()
}
BOND_SLAVE = """
<domain type='qemu'>
  <name>bond_{name}</name>
  <memory unit='KiB'>3145728</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64'>hvm</type><boot dev='network'/><boot dev='hd'/></os>
  <cpu mode='maximum'/>{clock}
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {disks}
    <controller type='usb' model='nec-xhci'/>
    {cards}{terminal}
    <graphics type='vnc' listen='0.0.0.0' autoport='yes'/>
    <video><model type='vga' heads='1'/></video>
  </devices>
</domain>"""
BOND_DISK = """
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe'/>
      <source file='POOL/bond_{name}_{volume}'/>
      <target dev='{target}' bus='virtio'/>
    </disk>"""
BOND_CARD = """
    <interface type='network'><source network='bond_{network}'/><model type='e1000'/></interface>"""


def bond_slave(name: str) -> str:
    volumes = zip(("system", "cinder", "swift"), ("sda", "sdb", "sdc"), strict=True)
    return BOND_SLAVE.format(
        name=name,
        clock=CLOCK,
        terminal=TERMINAL,
        disks="".join(BOND_DISK.format(name=name, volume=v, target=t) for v, t in volumes),
        cards="".join(BOND_CARD.format(network=n) for n in ("admin", *["openstack_br"] * 4)),
    )


def reported_domain(host: Host, name: str, *, without: tuple[str, ...] = ()) -> object:
    added = [path for path in ADDED_TO_DOMAINS if path != "cpu"]
    xml = host.connection.lookupByName(name).XMLDesc(SECURE).replace(str(host.pool_dir), "POOL")
    return said(xml, without=[*added, "cpu/@check", "cpu/@migratable", *without])


def names(things: list[Any]) -> set[str]:
    return {thing.name() for thing in things}


def check_networks(host: Host, expected: dict[str, str]) -> None:
    assert names(host.connection.listAllNetworks()) == expected.keys()
    for name, xml in expected.items():
        network = host.connection.networkLookupByName(name)
        assert said(network.XMLDesc(), without=CHOSEN) == said(xml)
        assert network.autostart()


def check_nothing_left(place: Place) -> None:
    assert place.is_empty()
    assert place.host.connection.listAllNWFilters() == []


@pytest.fixture
def host_devices(alpha: Host) -> Iterator[None]:
    """What ``all_features.yaml`` expects of its host: a network card and a bridge."""
    alpha.run(["ip", "link", "add", "nic", "type", "veth", "peer", "name", "wire"])
    alpha.run(["ip", "link", "add", "br-lan", "type", "bridge"])
    yield
    for name in ("nic", "br-lan"):
        alpha.run(["ip", "link", "del", name])


@pytest.mark.usefixtures("host_devices")
def test_all_features(alpha: Host, tmp_path: Path) -> None:
    place = Place(alpha)
    place.dos("create-env", str(TEMPLATES / "all_features.yaml"), ENV_NAME="all")
    check_networks(alpha, ALL_NETWORKS)
    assert names(alpha.connection.listAllNWFilters()) == ALL_FILTERS.keys()
    for name, xml in ALL_FILTERS.items():
        nwfilter = alpha.connection.nwfilterLookupByName(name)
        assert said(nwfilter.XMLDesc(), without=CHOSEN) == said(xml)
    assert names(alpha.connection.listAllDomains()) == ALL_DOMAINS.keys()
    for name, xml in ALL_DOMAINS.items():
        assert reported_domain(alpha, name) == said(xml, without=["vcpu/@placement"])
    assert alpha.connection.networkLookupByName("all_lan").bridgeName() == "br-lan"
    assert read_iso(alpha.pool_dir / "all_server_seed", tmp_path / "seed") == {
        "label": "cidata",
        "meta-data": "instance-id: server\nlocal-hostname: server\naddress: 10.79.0.10\n",
        "user-data": "#cloud-config\nruncmd: [ifup ens3]\n",
    }
    place.dos("erase", "all")
    check_nothing_left(place)


def test_a_bond_of_ten_machines(alpha: Host, tmp_path: Path) -> None:
    place = Place(alpha)
    iso = tmp_path / "fuel.iso"
    iso.write_bytes(bytes(2048))
    variables = {"ENV_NAME": "bond", "ISO_PATH": str(iso), "POOL_DEFAULT": "10.79.0.0/16:24"}
    place.dos("create-env", str(TEMPLATES / "default30_bond.yaml"), **variables)
    check_networks(alpha, BOND_NETWORKS)
    slaves = [f"slave-{number:02}" for number in range(1, 10)]
    nodes = {"bond_admin", *(f"bond_{slave}" for slave in slaves)}
    assert names(alpha.connection.listAllDomains()) == nodes
    for slave in slaves:
        reported = reported_domain(alpha, f"bond_{slave}", without=RANDOM + BY_HOST)
        assert reported == said(bond_slave(slave), without=BY_HOST)
    sizes = {path.name: virtual_size(path) for path in alpha.pool_dir.iterdir()}
    volumes = [f"bond_{slave}_{disk}" for slave in slaves for disk in ("system", "cinder", "swift")]
    gib = 1024**3
    assert sizes == {
        "bond_admin_system": 75 * gib,
        "bond_admin_iso": 2048,
        **dict.fromkeys(volumes, 50 * gib),
    }
    rows = place.records("bond")
    parents = {name: params["parent_iface"] for name, _, _, params in rows["l2"]}
    assert parents["storage"] == {"phys_dev": None, "l2_net_dev": "openstack_br", "tag": 101}
    assert [row[2] for row in rows["network_configs"] if row[1] == "bond0"] == [
        json.dumps(["public", "storage", "management", "private"], separators=(",", ":"))
    ] * 9
    place.dos("erase", "bond")
    check_nothing_left(place)


def virtual_size(image: Path) -> int:
    command = ["qemu-img", "info", "--output=json", str(image)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(json.loads(shown)["virtual-size"])
