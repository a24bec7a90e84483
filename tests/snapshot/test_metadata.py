"""libvirt's notes of snapshots, read and rewritten."""

from __future__ import annotations

import datetime

import pytest
from lxml import etree

from devops_snapshot.errors import FormatError
from devops_snapshot.hypervisor import RunState
from devops_snapshot.snapshot.domain_xml import disks_of, parse, with_sources
from devops_snapshot.snapshot.metadata import (
    build_snapshot,
    parse_snapshot,
    with_ancestors,
    with_files,
    with_parent,
)

DOMAIN = """
<domain type='qemu'>
  <name>env_admin</name>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe'/>
      <source file='/pool/system' index='2'><privateData/></source>
      <backingStore type='file' index='3'>
        <format type='raw'/><source file='/pool/base'/><backingStore/>
      </backingStore>
      <target dev='sda' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sdb' bus='ide'/><readonly/></disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='/pool/stick'/><target dev='sdc' bus='usb'/><readonly/>
    </disk>
    <disk type='file' device='disk'>
      <source file='/pool/shared'/><target dev='sdd' bus='scsi'/><shareable/>
    </disk>
  </devices>
</domain>
"""


def internal(**parts: str) -> str:
    """As libvirt writes one of a running guest with a qcow2 disk and a cdrom."""
    known = {
        "name": "<name>error_deploy</name>",
        "time": "<creationTime>1480000000</creationTime>",
        "memory": "<memory snapshot='internal'/>",
        "disks": "<disks><disk name='sda' snapshot='internal'/>"
        "<disk name='sdb' snapshot='no'/></disks>",
        "domain": DOMAIN,
    }
    inside = "".join((known | parts).values())
    return f"<domainsnapshot><state>running</state>{inside}</domainsnapshot>"


def external(*, inactive: bool = True) -> str:
    return build_snapshot(
        name="late & <last>",
        description="two\nlines",
        parent="early",
        created=1480000000,
        state=RunState.PAUSED,
        memory_path="/pool/memory",
        overlays={"sda": "/pool/system.late"},
        domain=parse(DOMAIN),
        inactive=parse(DOMAIN.replace("<devices>", "<title>persistent</title><devices>")),
    )


def test_an_external_snapshot_comes_back_as_it_was_built() -> None:
    found = parse_snapshot(external())
    assert (found.name, found.description, found.parent) == ("late & <last>", "two\nlines", "early")
    assert found.created == datetime.datetime(2016, 11, 24, 15, 6, 40, tzinfo=datetime.timezone.utc)
    assert found.state is RunState.PAUSED
    assert found.memory_path == "/pool/memory"
    assert not found.internal
    assert found.overlays == {"sda": "/pool/system.late"}
    assert [(disk.target, disk.path) for disk in found.snapshotted] == [("sda", "/pool/system")]
    assert found.definition.tag == "domain"
    assert found.definition.findtext("title") == "persistent"


def test_an_internal_snapshot() -> None:
    found = parse_snapshot(internal())
    assert found.internal
    assert found.memory_path is None
    assert found.parent is None
    assert [disk.target for disk in found.snapshotted] == ["sda"]
    assert found.definition.findtext("title") is None  # libvirt noted no persistent one


def test_a_node_without_disks_that_was_off_has_no_internal_state() -> None:
    xml = internal(memory="<memory snapshot='no'/>", disks="<disks/>")
    assert not parse_snapshot(xml).internal


@pytest.mark.parametrize("word", ["shutoff", "disk-snapshot", "crashed"])
def test_without_memory_it_comes_back_switched_off(word: str) -> None:
    xml = internal().replace("<state>running</state>", f"<state>{word}</state>")
    assert parse_snapshot(xml).state is RunState.SHUTOFF


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "no XML",
        "<domainsnapshot/>",
        internal(name=""),
        internal(domain=""),
        internal(domain="<domain><devices><disk/></devices></domain>"),
        internal(time="<creationTime>today</creationTime>"),
        internal(time="<creationTime>99999999999999999999</creationTime>"),
        internal().replace("domainsnapshot", "domain"),
    ],
)
def test_what_is_no_snapshot_is_refused(xml: str) -> None:
    with pytest.raises(FormatError):
        parse_snapshot(xml)


def test_entities_are_refused() -> None:
    hostile = "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>"
    with pytest.raises(FormatError, match="DOCTYPE"):
        parse_snapshot(hostile + internal(name="<name>a&e;</name>"))


def test_another_parent_or_none() -> None:
    assert parse_snapshot(with_parent(external(), "root")).parent == "root"
    orphan = with_parent(external(), None)
    assert parse_snapshot(orphan).parent is None
    assert parse_snapshot(with_parent(orphan, "early")).parent == "early"


def test_other_files() -> None:
    changed = parse_snapshot(
        with_files(external(), overlays={"sda": "/pool/new"}, memory_path="/pool/other")
    )
    assert changed.overlays == {"sda": "/pool/new"}
    assert changed.memory_path == "/pool/other"
    assert changed.frozen == parse_snapshot(external()).frozen


def test_ancestors_come_first_and_others_not_at_all() -> None:
    chain = {"root": None, "left": "root", "leaf": "left", "right": "root"}
    known = {
        name: parse_snapshot(with_parent(internal(name=f"<name>{name}</name>"), parent))
        for name, parent in chain.items()
    }
    assert with_ancestors(known, {"leaf"}) == ["root", "left", "leaf"]
    assert with_ancestors(known, {"right", "left"}) == ["root", "left", "right"]


def test_which_disks_a_guest_can_write_alone() -> None:
    disks = disks_of(parse(DOMAIN))
    assert [(d.target, d.format, d.path, d.writable, d.shared) for d in disks] == [
        ("sda", "qcow2", "/pool/system", True, False),
        ("sdb", "raw", None, False, False),
        ("sdc", "raw", "/pool/stick", False, False),
        ("sdd", "raw", "/pool/shared", False, True),
    ]


def test_a_moved_disk_forgets_its_old_chain() -> None:
    """QEMU believes a ``<backingStore>`` that stays and skips what lies between."""
    moved = with_sources(parse(DOMAIN), {"sda": ("/pool/new", "qcow2")}, emulator="/bin/qemu")
    assert moved.findtext("devices/emulator") == "/bin/qemu"
    assert not list(moved.iter("backingStore"))
    disk = moved.find("devices/disk")
    assert disk is not None
    source = disk.find("source")
    assert source is not None
    assert etree.tostring(source).strip() == b'<source file="/pool/new"/>'
    assert moved.findall("devices/disk")[2].find("source").get("file") == "/pool/stick"
    assert parse(DOMAIN).find("devices/disk/backingStore") is not None
