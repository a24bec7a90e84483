"""Our XML says what fuel-devops's said: ``golden/`` has what libvirt kept of its objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from devops_snapshot.devops.libvirt.domain_xml import (
    DiskSpec,
    DomainSpec,
    InterfaceSpec,
    NumaCell,
    Vnc,
    domain_xml,
)
from devops_snapshot.devops.libvirt.network_xml import (
    Dhcp,
    DhcpHost,
    HostAddress,
    NetworkSpec,
    network_xml,
)
from devops_snapshot.devops.libvirt.volume_xml import Backing, VolumeSpec, volume_xml

from .semantic import ADDED_TO_DOMAINS, said

GOLDEN = Path(__file__).parent / "golden"

ADDED_TO_NETWORKS = ("uuid", "mac")

ADMIN = DomainSpec(
    name="fuel_system_test_admin",
    hypervisor="qemu",
    emulator="/usr/bin/qemu-system-x86_64",
    memory=256,
    boot=("cdrom", "hd"),
    acpi=True,
    hpet=False,
    vnc=Vnc(),
    disks=(
        DiskSpec(
            target="sda",
            bus="virtio",
            format="qcow2",
            path="/var/lib/libvirt/images/fuel_system_test_admin_system",
            serial="f0f94e259d2d4531bd95a63a8ea3cb7b",
        ),
        DiskSpec(
            target="sdb",
            bus="ide",
            format="raw",
            path="/var/lib/libvirt/images/fuel_system_test_admin_iso",
            serial="5d3b090a08f54a01af12a9c0ab2bc76c",
            device="cdrom",
        ),
    ),
    interfaces=(
        InterfaceSpec(mac="64:4f:2f:7b:86:68", network="fuel_system_test_admin", model="e1000"),
    ),
)
SLAVE = replace(
    ADMIN,
    name="fuel_system_test_slave-01",
    boot=("cdrom", "network", "hd"),
    disks=(
        replace(
            ADMIN.disks[0],
            path="/var/lib/libvirt/images/fuel_system_test_slave-01_system",
            serial="fea666b3183946c79473276e91c56ffe",
        ),
        replace(
            ADMIN.disks[1],
            path="/var/lib/libvirt/images/fuel_system_test_slave-01_iso",
            serial="72daf21f75424dafaa55d54bebbeb946",
        ),
    ),
    interfaces=(
        InterfaceSpec(mac="64:93:eb:54:3c:fb", network="fuel_system_test_admin", model="e1000"),
        InterfaceSpec(mac="64:f3:6b:e0:77:27", network="fuel_system_test_private", model="virtio"),
    ),
)
ADMIN_NETWORK = NetworkSpec(
    name="fuel_system_test_admin",
    forward="nat",
    bridge="virbr3",
    host=HostAddress(
        "10.108.0.1",
        24,
        dhcp=Dhcp(
            "10.108.0.3",
            "10.108.0.254",
            hosts=(
                DhcpHost("64:4f:2f:7b:86:68", "10.108.0.2", "admin"),
                DhcpHost("64:93:eb:54:3c:fb", "10.108.0.3", "slave-01"),
            ),
        ),
    ),
)
PRIVATE_NETWORK = NetworkSpec(
    name="fuel_system_test_private", bridge="virbr4", host=HostAddress("10.108.1.1", 24)
)


@pytest.mark.parametrize(("domain", "golden"), [(ADMIN, "admin"), (SLAVE, "slave-01")])
def test_domains_say_what_fuel_devops_said(domain: DomainSpec, golden: str) -> None:
    kept = (GOLDEN / f"domain_{golden}.xml").read_text()
    assert said(domain_xml(domain), without=["devices/video/model/@vram"]) == said(
        kept, without=ADDED_TO_DOMAINS
    )


@pytest.mark.parametrize(
    ("network", "golden"), [(ADMIN_NETWORK, "admin"), (PRIVATE_NETWORK, "private")]
)
def test_networks_say_what_fuel_devops_said(network: NetworkSpec, golden: str) -> None:
    kept = (GOLDEN / f"network_{golden}.xml").read_text()
    assert said(network_xml(network)) == said(kept, without=ADDED_TO_NETWORKS)


def test_a_bare_domain_says_nothing_more_than_it_must() -> None:
    root = etree.fromstring(domain_xml(DomainSpec("n", "qemu", "/emulator", video=False)))
    assert {child.tag for child in root} == {"name", "memory", "vcpu", "os", "clock", "devices"}
    assert [child.tag for child in root.find("devices")] == [
        "emulator",
        "controller",
        "serial",
        "console",
    ]


def test_cpu_numa_and_hugepages() -> None:
    numa = (NumaCell("0-1", 512), NumaCell("2", 256))
    xml = domain_xml(replace(ADMIN, cpu_mode="host-passthrough", numa=numa, hugepages=True, vcpu=3))
    root = etree.fromstring(xml)
    assert root.find("cpu").get("mode") == "host-passthrough"
    assert [dict(cell.attrib) for cell in root.iterfind("cpu/numa/cell")] == [
        {"cpus": "0-1", "memory": "524288", "unit": "KiB"},
        {"cpus": "2", "memory": "262144", "unit": "KiB"},
    ]
    assert root.find("memoryBacking/hugepages") is not None
    assert root.findtext("vcpu") == "3"


def test_numa_without_a_cpu_mode_leaves_the_mode_to_libvirt() -> None:
    root = etree.fromstring(domain_xml(replace(ADMIN, numa=(NumaCell("0", 256),))))
    assert dict(root.find("cpu").attrib) == {}


def test_timeouts_and_vnc_password() -> None:
    domain = replace(ADMIN, reboot_timeout=10000, bootmenu_timeout=3000, vnc=Vnc("secret"))
    root = etree.fromstring(domain_xml(domain))
    assert dict(root.find("os/bios").attrib) == {"rebootTimeout": "10000"}
    assert dict(root.find("os/bootmenu").attrib) == {"enable": "yes", "timeout": "3000"}
    assert root.find("devices/graphics").get("passwd") == "secret"


def test_a_usb_disk_is_removable_and_read_only() -> None:
    disk = replace(ADMIN.disks[0], bus="usb", wwn="0ca3b79ad2e62431")
    element = etree.fromstring(domain_xml(replace(ADMIN, disks=(disk,)))).find("devices/disk")
    assert element.find("target").get("removable") == "on"
    assert element.find("readonly") is not None
    assert element.findtext("wwn") == "0ca3b79ad2e62431"


def test_an_empty_drive_has_no_source() -> None:
    drive = replace(ADMIN.disks[1], path=None)
    element = etree.fromstring(domain_xml(replace(ADMIN, disks=(drive,)))).find("devices/disk")
    assert element.find("source") is None


def test_names_are_escaped() -> None:
    root = etree.fromstring(domain_xml(replace(ADMIN, name="a<b>&'\"")))
    assert root.findtext("name") == "a<b>&'\""


def test_pxe_is_announced_and_served() -> None:
    host = replace(ADMIN_NETWORK.host, tftp_root="/srv/tftp", boot_file="pxelinux.0")
    root = etree.fromstring(network_xml(replace(ADMIN_NETWORK, host=host)))
    assert root.find("ip/tftp").get("root") == "/srv/tftp"
    assert root.find("ip/dhcp/bootp").get("file") == "pxelinux.0"


def test_a_network_without_address_is_only_a_bridge() -> None:
    assert said(network_xml(NetworkSpec("n", stp=False))) == said(
        "<network><name>n</name><bridge stp='off' delay='0'/></network>"
    )


def test_a_volume_on_a_base_image() -> None:
    volume = VolumeSpec("v", 3 * 1024**3, "qcow2", backing=Backing("/pool/base", "raw"))
    assert said(volume_xml(volume)) == said("""
        <volume>
          <name>v</name>
          <capacity unit='bytes'>3221225472</capacity>
          <allocation>0</allocation>
          <target><format type='qcow2'/><permissions><mode>0644</mode></permissions></target>
          <backingStore><path>/pool/base</path><format type='raw'/></backingStore>
        </volume>""")
