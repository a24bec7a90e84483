"""What an attacker would make a host do with numbers, repeated elements and files of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from devops_snapshot.errors import FormatError
from devops_snapshot.manifest.check import check_manifest, check_memory
from devops_snapshot.manifest.definition import check_definition
from devops_snapshot.snapshot.domain_xml import LARGEST, parse

from .real import document, manifest_of
from .test_check import (
    Change,
    environment,
    group,
    in_definition,
    in_snapshot,
    interface,
    l2,
    network,
    node,
    pool,
    put,
    snapshot,
)

GIB = 1 << 30
TARGET = '<target dev="sda" bus="virtio"/>'
BASE = "/var/lib/libvirt/images/trip_default_base"
SYSTEM = "/var/lib/libvirt/images/trip_node-1_system"


def in_devices(xml: str) -> Change:
    return in_definition("</devices>", f"{xml}</devices>")


def in_domain(xml: str) -> Change:
    return in_definition("</domain>", f"{xml}</domain>")


def volume(d: dict[str, Any]) -> dict[str, Any]:
    return node(d)["volumes"][0]


def params(place: Callable[[dict[str, Any]], dict[str, Any]], **values: object) -> Change:
    return put(lambda d: place(d)["params"], **values)


def written_base(d: dict[str, Any]) -> None:
    """A node without snapshots whose disk is what the disks of the others stand on."""
    node(d)["snapshots"] = []
    node(d)["domain_xml"] = node(d)["domain_xml"].replace(SYSTEM, BASE)


def disk_beside_the_snapshot(d: dict[str, Any]) -> None:
    """A revert leaves such a disk where it is: on what the snapshot has frozen."""
    disk = f"<disk type='file'><driver type='qcow2'/><source file='{BASE}'/><target dev='sdz'/>"
    snapshot(d)["xml"] = snapshot(d)["xml"].replace("</devices>", f"{disk}</disk></devices>")


def unused_file(d: dict[str, Any]) -> None:
    d["files"].append({**d["files"][0], "path": "/pool/x", "backing": None})


def many(key: str, number: int) -> Change:
    def change(d: dict[str, Any]) -> None:
        rows = node(d)[key]
        node(d)[key] = [{**rows[0], "id": n} for n in range(number)]

    return change


def same_node(d: dict[str, Any]) -> None:
    group(d)["nodes"][1]["name"] = "node-1"


def same_id(d: dict[str, Any]) -> None:
    group(d)["nodes"][1]["id"] = group(d)["nodes"][0]["id"]


def same_mac(d: dict[str, Any]) -> None:
    first, second = node(d)["interfaces"]
    second["mac_address"] = first["mac_address"].upper().replace(":", "-")


def host_entry(**values: object) -> Change:
    return put(lambda d: network(d)["dhcp_hosts"][0], **values)


SNAPSHOT_DISK = "<disk name='sda' snapshot='external' type='file'>"
MANY_DISKS = "".join(f"<controller type='scsi' index='{n}'/>" for n in range(1024))

CHANGES: dict[str, tuple[Change, str]] = {
    # what libvirt and QEMU would take of the host
    "memory without end": (in_definition(">131072</m", ">99999999999999</m"), "as <memory>"),
    "memory that is no number": (in_definition(">131072</m", ">1e9</m"), "'1e9' as <memory>"),
    "memory of many digits": (in_definition(">131072</m", f">{'9' * 5000}</m"), "as <memory>"),
    "memory in a strange unit": (in_definition('unit="KiB"', 'unit="x"'), "as <memory>"),
    "memory in NUMA cells": (
        in_definition("</cpu>", "<numa><cell cpus='0' memory='64' unit='TiB'/></numa></cpu>"),
        "'64' as <cell>",
    ),
    "many small cells": (
        in_definition("</cpu>", "<numa>" + 2 * "<cell memory='9' unit='TiB'/>" + "</numa></cpu>"),
        "too much memory",
    ),
    "memory to be plugged in": (in_domain("<maxMemory slots='1' unit='PiB'>1</maxMemory>"), "'1'"),
    "processors": (in_definition(">1</vcpu>", ">100000</vcpu>"), "'100000' as <vcpu>"),
    "threads": (in_domain("<iothreads>4294967295</iothreads>"), "as <iothreads>"),
    "priority over the host": (
        in_domain("<cputune><vcpusched vcpus='0' scheduler='fifo' priority='99'/></cputune>"),
        "<vcpusched> in <cputune>",
    ),
    "the host's caches": (in_domain("<cputune><cachetune vcpus='0'/></cputune>"), "<cachetune>"),
    "devices": (in_devices(MANY_DISKS), "10.. devices"),
    "terminals": (in_devices("<channel type='pty'/>" * 33), "3. terminals"),
    "queues": (in_definition('cache="unsafe"', 'queues="9999"'), "<driver queues='9999'>"),
    "memory of a screen": (in_definition('vram="16384"', 'vram="4194304"'), "vram='4194304'"),
    # one thing for us, another for libvirt
    "two drivers of a disk": (
        in_definition(TARGET, f"<driver type='raw'/>{TARGET}"),
        "<driver> tw",
    ),
    "a text around an element": (
        in_definition("<name>trip_node-1", "<name>trip<x/>_node-1"),
        "text beside elements in <name>",
    ),
    "text between elements": (in_definition("<devices>", "x<devices>"), "text beside elements"),
    "an element of another kind": (
        in_definition("<features>", "<features><q:acpi xmlns:q='x'/>"),
        "the foreign {x}acpi",
    ),
    "a machine that adds arguments": (in_definition("pc-i440fx-7.2", "pc,dump=on"), "the name"),
    "a model that adds arguments": (in_definition(">qemu64<", ">qemu64,+x<"), "the name 'qemu64,"),
    "a card of the host": (in_definition('model type="virtio"', 'model type="vfio-pci"'), "vfio"),
    "a line for the terminal": (in_definition('"utc"', '"utc&#10;Imported"'), "'utc.nImported'"),
    "a large document": (in_definition("</name>", "</name>" + " " * LARGEST), "characters"),
    # snapshots: libvirt deletes the files that they name
    "a second memory file": (
        in_snapshot("<memory snapshot=", "<memory/><memory snapshot="),
        "<memory> twice",
    ),
    "a disk by another name": (
        in_snapshot("<disks>", "<disks><x name='sdc'><source file='/etc/shadow'/></x>"),
        "<x> in <disks>",
    ),
    "a block device": (in_snapshot(SNAPSHOT_DISK, SNAPSHOT_DISK.replace("file", "block")), "block"),
    "a network disk": (
        in_snapshot(SNAPSHOT_DISK, SNAPSHOT_DISK.replace("file", "network")),
        "type",
    ),
    "a data file": (
        in_snapshot("<driver type='qcow2'/>", "<driver type='raw'/>"),
        "<driver type='raw'>",
    ),
    "a source that is more": (
        in_snapshot(
            "trip_node-1_base.deployed'/>",
            "trip_node-1_base.deployed'><reservations managed='no'/></source>",
        ),
        "<reservations> in <source>",
    ),
    "a description that is more": (
        in_snapshot("before the test", "<source file='/etc/shadow'/>"),
        "<source> in <description>",
    ),
    "two parents": (in_snapshot("<memory sn", "<parent/><parent/><memory sn"), "<parent> twice"),
    "an element that is new": (in_snapshot("<disks>", "<hook/><disks>"), "<hook>"),
    # files
    "a disk that others stand on": (written_base, "writes into .*trip_default_base"),
    "a disk beside a snapshot's": (disk_beside_the_snapshot, "writes into .*trip_default_base"),
    "a file that nobody uses": (unused_file, "'/pool/x', which nobody uses"),
    "a file of 2^62 bytes for guests": (
        put(lambda d: d["files"][0], virtual_size=1 << 62),
        "is a disk of 4611686018427387904 bytes",
    ),
    "a layer that is a path": (put(lambda d: d["files"][0], layer="../x"), "is the layer '../x'"),
    "an environment that is a path": (put(environment, name=".."), "'..' as the name"),
    "a snapshot that nobody has": (put(lambda d: d, current="x"), "has the snapshot 'x'"),
    # rows
    "another class": (params(node, _class="devops.driver.libvirt.x:y"), "class 'devops.driver"),
    "a node twice": (same_node, "the node 'node-1' twice"),
    "an id twice": (same_id, "id of nodes"),
    "an id below zero": (put(node, id=-1), "an id of a row"),
    "an id of many digits": (put(node, id=10**400), "an id of a row"),
    "a card twice": (same_mac, "MAC address .* twice"),
    "a subnet twice": (
        put(lambda d: d["environment"]["address_pools"][1], net="10.109.0.0/24"),
        "subnet",
    ),
    "many cards": (many("interfaces", 9000), "9002 network cards"),
    "many disks": (many("disks", 17000), "17002 disks"),
    "a long role": (put(node, role="x" * 256), "as its role"),
    "a label for the terminal": (put(interface, label="\x1b[2J"), "as its label"),
    "a model that is long": (put(interface, model="x" * 300), "as its model"),
    "a time with a zone": (put(environment, created="2026-01-01T00:00:00+01:00"), "time zone"),
    "a description with NUL": (put(snapshot, description="a\0b"), "no database takes"),
    "a forward that is none": (params(l2, forward=[]), "as its forward"),
    "a mode that is none": (params(l2, forward={"mode": "hostdev"}), "as its forward"),
    "a directory for TFTP": (params(l2, has_pxe_server=True, tftp_root_dir="/etc"), "has_pxe"),
    "paths without end": (params(volume, multipath_count=1 << 40), "multipath_count"),
    "memory of NaN": (params(node, memory=float("nan")), "nan as its memory"),
    "a port that is none": (params(node, ssh_port=1 << 16), "65536 as its ssh_port"),
    "a gateway that is none": (params(pool, ip_reserved={"gateway": "x"}), "ip_reserved"),
    "a range that is none": (params(pool, ip_ranges={"dhcp": ["10.0.0.1"]}), "ip_ranges"),
    "features that are none": (params(interface, features="x"), "features"),
    # networks
    "a parent that is a list": (params(l2, parent_iface={"l2_net_dev": [1]}), "parent_iface .1"),
    "a parent that is a number": (params(l2, parent_iface={"phys_dev": 5}), "parent_iface 5"),
    "a host's name with a line": (host_entry(name="x\ndhcp-script=/tmp/x"), "DHCP host"),
    "a host's name with a comma": (host_entry(name="x,set:y"), "DHCP host"),
    "a host's MAC that is none": (host_entry(mac="*:*"), "MAC address"),
    "an address with a scope": (host_entry(ip="fe80::1%eth0"), "address 'fe80::1%eth0'"),
    "a subnet with a scope": (put(pool, net="fe80::1%eth0/64"), "subnet"),
    "a subnet only Python knows": (put(pool, net="10.0.0.0/0.0.255.0"), "subnet"),
    "a network of half the Internet": (put(network, ip="1.0.0.1", prefix=1), "no environment's"),
    "the host's own network": (put(network, ip="127.0.0.2", prefix=8), "no environment's"),
    "the address of metadata": (put(network, ip="169.254.169.254", prefix=16), "no environment's"),
    "a bridge that is a path": (put(network, bridge="../x"), "bridge '../x'"),
    "a delay of years": (put(network, delay=1 << 30), "delay"),
    "XML of a network that is none": (put(network, xml="<x"), "not an XML document"),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_is_refused(change: Change, told: str) -> None:
    changed = document()
    change(changed)
    with pytest.raises(FormatError, match=told) as caught:
        check_manifest(manifest_of(changed))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("old", "new", "size"),
    [
        ('unit="KiB">131072</m', 'unit="GiB">3</m', 3 * GIB),
        ('unit="KiB">131072</c', 'unit="G">2</c', 2 * GIB),
        (' unit="KiB">131072</m', ">2097152</m", 2 * GIB),
        (
            "</cpu>",
            "<numa><cell memory='1' unit='GiB'/><cell memory='1048576'/></numa></cpu>",
            2 * GIB,
        ),
    ],
)
def test_memory_is_what_libvirt_would_take(old: str, new: str, size: int) -> None:
    xml = node(document())["domain_xml"]
    assert old in xml
    assert check_definition("it", parse(xml.replace(old, new))).memory == size


def test_memory_grows_with_no_memory_file() -> None:
    manifest = manifest_of(document())
    owner = next(iter(manifest.environment.nodes))
    [recorded] = owner.snapshots
    start = recorded.xml.index("<domain ")
    saved = recorded.xml[start : recorded.xml.index("</domain>") + len("</domain>")]
    check_memory(owner, recorded, saved)
    with pytest.raises(FormatError, match="takes 1073741824 bytes, its definition 134217728"):
        check_memory(
            owner, recorded, saved.replace("<memory unit='KiB'>131072", "<memory unit='GiB'>1")
        )
