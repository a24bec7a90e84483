"""What libvirt writes before QEMU's stream: read as it is, refused if it could not have been."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from devops_snapshot.errors import FormatError
from devops_snapshot.importer.reshape.memory_header import MAX_ROOM, MemoryHeader

UUID = "36da2d5e-fc23-47b8-a8f6-86849c141d06"
OTHER = "11111111-2222-3333-4444-555555555555"
STREAM = b"QEVM\0\0\0\3" + bytes(range(256)) * 20
DEFINITION = f"""<domain type='qemu'>
  <name>trip_node-1</name>
  <uuid>{UUID}</uuid>
  <metadata><a:saved xmlns:a='urn:devops-snapshot:saved' file='/pool/trip_memory'/></metadata>
  <devices>
    <disk type='file' device='disk'>
      <source file='/pool/trip_node-1_system'/>
      <backingStore type='file'><source file='/pool/trip_default_base'/></backingStore>
      <target dev='sda' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sdb' bus='ide'/></disk>
    <interface type='network'>
      <mac address='64:ec:28:30:d9:48'/>
      <source network='trip_admin'/>
      <filterref filter='trip_admin_64:ec:28:30:d9:48'/>
    </interface>
    <channel type='unix'>
      <source mode='bind' path='/var/lib/libvirt/qemu/channel/target/domain-1-trip_node-1/agent'/>
      <target type='virtio' name='agent'/>
    </channel>
  </devices>
</domain>
"""
COOKIE = "<cookie>\n  <cpu mode='custom'/>\n</cookie>\n"


def written(definition: str = DEFINITION, cookie: str | None = COOKIE, spare: int = 65536) -> bytes:
    """As libvirt 9.0 writes it (see also the test with a real one in ``test_reshape_real``)."""
    first, second = definition.encode() + b"\0", (cookie or "").encode() + b"\0" * bool(cookie)
    room = len(first + second) + spare
    numbers = struct.pack("<5I", 2, room, 1, 0, len(first) if cookie else 0)
    return (b"LibvirtQemudSave" + numbers).ljust(92, b"\0") + (first + second).ljust(room, b"\0")


def another(definition: str = DEFINITION) -> etree._Element:
    """The definition of a copy, named ``a``."""
    return etree.fromstring(definition.replace("trip", "a").replace(UUID, OTHER))


def given_to(other: etree._Element, data: bytes) -> bytes:
    """The file after its header has been made that of another domain."""
    header = MemoryHeader.unpack(data)
    head = header.like(other).pack()
    assert len(head) == header.size
    return head + data[len(head) :]


def test_is_read() -> None:
    header = MemoryHeader.unpack(written() + STREAM)
    assert header.definition == DEFINITION
    assert header.cookie == COOKIE
    assert header.was_running == 1
    assert header.size == len(written())


@pytest.mark.parametrize("cookie", [None, COOKIE])
def test_comes_out_as_it_went_in(cookie: str | None) -> None:
    data = written(cookie=cookie)
    assert MemoryHeader.unpack(data + STREAM).pack() == data


def test_nothing_of_the_other_domain_is_left() -> None:
    """Not in the zeros behind a definition that has become shorter, either."""
    data = given_to(another(), written() + STREAM)
    assert b"trip" not in data
    assert UUID.encode() not in data
    assert data.endswith(STREAM)
    header = MemoryHeader.unpack(data)
    assert header.cookie == COOKIE
    root = etree.fromstring(header.definition)
    assert root.findtext("name") == "a_node-1"
    assert root.findtext("uuid") == OTHER
    assert root.find("devices/interface/source").get("network") == "a_admin"
    assert root.find("devices/interface/filterref").get("filter") == "a_admin_64:ec:28:30:d9:48"
    assert root.find("devices/disk/source").get("file") == "/pool/a_node-1_system"
    assert root.find(".//backingStore") is None


def test_files_are_those_of_this_host() -> None:
    here = {"/pool/a_node-1_system": "/here/a_node-1_system"}
    header = MemoryHeader.unpack(written()).like(another(), paths=here)
    [disk, _] = etree.fromstring(header.definition).findall("devices/disk")
    assert disk.find("source").get("file") == "/here/a_node-1_system"


def test_cards_are_known_however_their_addresses_are_spelled() -> None:
    other = another(DEFINITION.replace("<mac address='64:ec", "<mac address='64:EC"))
    [mac] = etree.fromstring(MemoryHeader.unpack(written()).like(other).definition).iter("mac")
    assert mac.get("address") == "64:ec:28:30:d9:48"


def test_the_same_domain_may_be_behind_other_filters() -> None:
    """Another one is not: that would be taken for what the snapshot speaks of."""
    header = MemoryHeader.unpack(written())
    spelled = DEFINITION.replace("admin_64:ec", "admin_64:EC")
    assert header.is_behind_other_filters(etree.fromstring(spelled))
    assert not header.is_behind_other_filters(etree.fromstring(DEFINITION))
    assert not header.is_behind_other_filters(another())
    assert not header.is_behind_other_filters(another(spelled))


def test_a_card_on_a_bridge_of_the_host_comes_into_its_network() -> None:
    """So libvirt tells of a guest that runs in a network of forward mode ``bridge``."""
    on_bridge = DEFINITION.replace("interface type='network'", "interface type='bridge'")
    on_bridge = on_bridge.replace("source network='trip_admin'", "source bridge='br0'")
    header = MemoryHeader.unpack(written(on_bridge)).like(another())
    card = etree.fromstring(header.definition).find("devices/interface")
    assert card.get("type") == "network"
    assert dict(card.find("source").attrib) == {"network": "a_admin"}


def test_names_that_fill_all_the_room_and_more() -> None:
    fits = another(DEFINITION.replace("trip_node-1<", f"{'n' * 60_000}<"))
    given_to(fits, written() + STREAM)
    too_long = another(DEFINITION.replace("trip_node-1<", f"{'n' * 70_000}<"))
    with pytest.raises(FormatError, match="bytes of room for its definition"):
        given_to(too_long, written() + STREAM)


def changed(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def number(at: int, value: int) -> bytes:
    return changed(written(), at, struct.pack("<I", value))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "shorter than libvirt's header"),
        (written()[:91], "shorter than libvirt's header"),
        (changed(written(), 0, b"LibvirtQemudPart"), "not written to its end"),
        (changed(written(), 0, b"QFI\xfb"), "does not begin as"),
        (number(16, 1), "does not begin as"),
        (number(16, 3), "does not begin as"),
        (number(16, 0x02000000), "does not begin as"),  # of a big-endian host
        (changed(written(), 91, b"x"), "does not begin as"),
        (number(20, 0), "tells of 0 bytes"),
        (number(20, MAX_ROOM + 1), "tells of 1048577 bytes"),
        (number(20, 0xFFFFFFFF), "tells of 4294967295 bytes"),
        (written()[:-1], "tells of"),
        (number(32, 0xFFFFFFFF), "and of 4294967295"),
        (number(32, 5), "is at 5, not at"),
        (number(32, 0), "something behind"),
        (changed(written(), len(written()) - 1, b"x"), "something behind"),
        (written(definition=""), "empty"),
        (written(cookie=None, spare=-1), "has no end"),
        (changed(written(), 120, b"\xff"), "is no text"),
    ],
)
def test_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(FormatError, match=told):
        MemoryHeader.unpack(data)


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        ("no XML", "not an XML document"),
        ("<?xml version='1.0' encoding='UTF-8'?><domain/>", "not an XML document"),
        ("<volume/>", "not that of a domain"),
        (DEFINITION.replace("<name>", "<name>x</name><name>"), "2 elements <name>"),
        (DEFINITION.replace(UUID, "").replace("<uuid></uuid>", ""), "0 elements <uuid>"),
        (DEFINITION.replace("64:ec", "64:00"), "network card that its snapshot does not have"),
        (DEFINITION.replace("<mac address='64:ec:28:30:d9:48'/>", ""), "network card"),
    ],
)
def test_a_definition_that_is_none_is_refused(definition: str, told: str) -> None:
    header = MemoryHeader.unpack(written(definition))
    with pytest.raises(FormatError, match=told):
        header.like(another())


def test_a_document_type_is_refused(tmp_path: Path) -> None:
    """Neither files nor a billion laughs come in by a document type."""
    secret = tmp_path / "secret"
    secret.write_text("secret of the host")
    declared = f"<!DOCTYPE domain [<!ENTITY x SYSTEM '{secret.as_uri()}'>]>"
    hostile = declared + DEFINITION.replace("<devices>", "<title>&x;</title><devices>")
    with pytest.raises(FormatError, match="DOCTYPE"):
        given_to(another(), written(hostile) + STREAM)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    reads_or_refuses(data)
    reads_or_refuses(b"LibvirtQemudSave" + data)


@settings(deadline=None)
@given(st.data())
def test_any_damage_is_read_or_refused(data: st.DataObject) -> None:
    whole = written(spare=16)
    at = data.draw(st.integers(0, len(whole) - 1))
    reads_or_refuses(changed(whole, at, data.draw(st.binary(min_size=1, max_size=8)))[: len(whole)])
    reads_or_refuses(whole[:at])


def reads_or_refuses(data: bytes) -> None:
    try:
        header = MemoryHeader.unpack(data)
    except FormatError:
        return
    assert header.pack() == data[: header.size]
    try:
        renamed = header.like(another())
        packed = renamed.pack()
    except FormatError:
        return
    assert MemoryHeader.unpack(packed) == renamed
