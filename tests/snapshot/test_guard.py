"""virsh and fuel-devops on an environment of ours: the right thing, or nothing at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from devops_snapshot import snapshot as snapshots
from devops_snapshot.devops.libvirt.models import LibvirtNode
from devops_snapshot.snapshot.guard import FIRST_THAT_REVERTS, guarded, is_guarded
from devops_snapshot.snapshot.layers import deepest
from devops_snapshot.snapshot.metadata import snapshots_of
from devops_snapshot.snapshot.pool import pool_directory
from devops_snapshot.snapshot.sync import compare, repair
from tests.devops.libvirt.builder import Builder

from .lab import BASE, Lab
from .test_merge import Shelf

METADATA_ONLY = libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY


def virsh(builder: Builder, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["virsh", "-c", builder.host.uri, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def files(builder: Builder) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in builder.host.pool_dir.iterdir()}


@pytest.fixture
def row(shelf: Builder) -> Shelf:
    """``root``, on it ``middle``, on that ``leaf``, and ``branch`` on ``root``, the current one."""
    row = Shelf(shelf)
    row.grow("root", "middle", "leaf")
    snapshots.revert(row.environment, "root")
    row.content[:] = row.held["root"]
    row.write(77, 7)
    row.take("branch")
    row.write(78, 8)
    return row


@pytest.mark.parametrize("running", [False, True])
def test_virsh_deletes_nothing(row: Shelf, running: bool) -> None:
    if running:
        row.node.start()
        row.node.suspend()
    before = files(row.builder)
    for name in row.held:
        for option in ([], ["--children"], ["--children-only"]):
            refused = virsh(row.builder, "snapshot-delete", "env_a", name, *option)
            has_children = name in ("root", "middle")
            assert refused.returncode or (option == ["--children-only"] and not has_children)
    left = {snapshot.name for snapshot in snapshots.list_snapshots(row.environment)}
    assert left == set(row.held)
    assert files(row.builder) == before
    row.node.destroy()
    row.check()


def test_virsh_reverts_nothing(row: Shelf) -> None:
    """libvirt 9.0 cannot; what a later one does is told by the next test."""
    if row.builder.host.connection.getLibVersion() >= FIRST_THAT_REVERTS:
        pytest.skip("this libvirt reverts external snapshots")
    before = files(row.builder)
    for name in row.held:
        for option in ([], ["--running"], ["--force"]):
            assert virsh(row.builder, "snapshot-revert", "env_a", name, *option).returncode
    assert files(row.builder) == before
    row.check()


def test_a_libvirt_that_reverts_is_told_what_it_may_remove(row: Shelf) -> None:
    """It unlinks what ``<revertDisks>`` of the current snapshot names: that must be "now"."""
    current = snapshots_of(row.node.domain)["branch"]
    root = etree.fromstring(guarded(current.xml, libvirt_version=FIRST_THAT_REVERTS))
    [source] = root.findall("revertDisks/disk[@snapshot='external']/source")
    assert source.get("file") == row.disk
    assert root.find("revertDisks/disk/snapshotDeleteInProgress") is None
    again = guarded(etree.tostring(root).decode(), libvirt_version=FIRST_THAT_REVERTS)
    assert len(etree.fromstring(again).findall("revertDisks")) == 1


def test_the_current_snapshot_names_what_is_written_to(row: Shelf) -> None:
    """Whatever was merged, reverted and deleted: nothing else may a libvirt from 9.9 on unlink."""

    def agree() -> None:
        name = row.node.domain.snapshotCurrent().getName()
        assert snapshots_of(row.node.domain)[name].overlays == {"sda": row.disk}

    agree()
    snapshots.revert(row.environment, "middle")
    agree()
    snapshots.delete(row.environment, "middle")
    agree()
    snapshots.delete(row.environment, "leaf")
    agree()
    snapshots.revert(row.environment, "branch")
    snapshots.delete(row.environment, "branch")
    agree()


def test_every_snapshot_is_guarded_also_those_of_others(row: Shelf) -> None:
    domain = row.node.domain
    document = etree.fromstring(domain.snapshotLookupByName("leaf").getXMLDesc())
    for mark in document.findall(".//snapshotDeleteInProgress"):
        mark.getparent().remove(mark)
    document.find("name").text = "theirs"
    redefine = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
    domain.snapshotCreateXML(etree.tostring(document).decode(), redefine)
    assert not is_guarded(snapshots_of(domain)["theirs"].xml)
    snapshots.create(row.environment, "ours")
    for node in row.environment.get_nodes():
        assert all(is_guarded(snapshot.xml) for snapshot in snapshots_of(node.domain).values())


# What fuel-devops 3.0.5 does, step by step, on the rows and libvirt alone


def fuel_devops_deletes(node: LibvirtNode, name: str) -> None:
    """Of a snapshot without children."""
    snapshot = node.domain.snapshotLookupByName(name)
    assert not snapshot.numChildren()
    root = etree.fromstring(snapshot.getXMLDesc(0))
    if node.domain.isActive():
        node.domain.destroy()
    node.driver.conn.defineXML(etree.tostring(root.find("domain")).decode())
    memory = root.find("memory").get("file")
    if memory is not None:
        Path(memory).unlink()
    snapshot.delete(METADATA_ONLY)
    for device in node.disk_devices:
        if device.device == "disk":
            overlay = device.volume
            device.volume = overlay.backing_store
            device.save()
            overlay.remove()


def fuel_devops_reverts(node: LibvirtNode, name: str) -> None:
    """To a snapshot without children: its overlays are made anew."""
    snapshot = node.domain.snapshotLookupByName(name)
    assert not snapshot.numChildren()
    if node.domain.isActive():
        node.domain.destroy()
    root = etree.fromstring(snapshot.getXMLDesc(0))
    overlays = {
        disk.get("name"): disk.find("source").get("file")
        for disk in root.findall("disks/disk[@snapshot='external']")
    }
    rows = {volume.uuid: volume for volume in node.get_volumes()}
    for device in node.disk_devices:
        if device.target_dev in overlays:
            device.volume = rows.get(overlays[device.target_dev], device.volume)
            device.save()
    for path in overlays.values():
        volume = node.driver.conn.storageVolLookupByKey(path)
        document, pool = volume.XMLDesc(), volume.storagePoolLookupByVolume()
        volume.delete()
        pool.createXML(document)
    domain = root.find("domain")
    for disk in domain.findall("devices/disk"):
        target = disk.find("target").get("dev")
        if target in overlays and disk.get("device") == "disk":
            disk.find("source").set("file", overlays[target])
    xml = etree.tostring(domain).decode()
    if root.findtext("state") == "shutoff":
        node.driver.conn.defineXML(xml)
    else:
        memory = root.find("memory").get("file")
        node.driver.conn.restoreFlags(memory, xml, libvirt.VIR_DOMAIN_SAVE_PAUSED)
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
    node.domain.snapshotCreateXML(snapshot.getXMLDesc(0), flags)


def fuel_devops_reverts_beneath_others(node: LibvirtNode, name: str) -> None:
    """To a snapshot with children: the domain on the frozen layers, and at once a snapshot."""
    snapshot = node.domain.snapshotLookupByName(name)
    assert snapshot.numChildren()
    if node.domain.isActive():
        node.domain.destroy()
    root = etree.fromstring(snapshot.getXMLDesc(0))
    rows = {volume.uuid: volume for volume in node.get_volumes()}
    for disk in root.findall("disks/disk[@snapshot='external']"):
        device = next(d for d in node.disk_devices if d.target_dev == disk.get("name"))
        device.volume = rows[disk.find("source").get("file")].backing_store
        device.save()
    xml = etree.tostring(root.find("domain")).decode()
    memory = root.find("memory").get("file")
    if memory is None:
        node.driver.conn.defineXML(xml)
    else:
        node.driver.conn.restoreFlags(memory, xml, libvirt.VIR_DOMAIN_SAVE_PAUSED)
    current = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE | current
    node.domain.snapshotCreateXML(snapshot.getXMLDesc(0), flags)
    fuel_devops_snapshots(node, f"{name}-revert")


def fuel_devops_snapshots(node: LibvirtNode, name: str) -> None:
    document = etree.Element("domainsnapshot")
    etree.SubElement(document, "name").text = name
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
    memory = etree.SubElement(document, "memory", snapshot="no")
    if node.domain.isActive():
        memory.set("snapshot", "external")
        memory.set("file", str(pool_directory(node.driver) / f"memory-{node.name}.{name}"))
    else:
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    disks = etree.SubElement(document, "disks")
    for device in node.disk_devices:
        if device.device != "disk":
            etree.SubElement(disks, "disk", name=device.target_dev, snapshot="no")
            continue
        child = device.volume.create_child(name=f"{deepest(device.volume).name}.{name}")
        child.format = "qcow2"
        child.define()
        device.volume = child
        device.save()
        disk = etree.SubElement(disks, "disk", name=device.target_dev, snapshot="external")
        etree.SubElement(disk, "source", file=child.uuid)
    node.domain.snapshotCreateXML(etree.tostring(document).decode(), flags)


def test_fuel_devops_reverts_beneath_our_snapshots(row: Shelf) -> None:
    """The one with two children, which is not the current one."""
    snapshots.revert(row.environment, "root")
    row.content[:] = row.held["root"]
    fuel_devops_reverts_beneath_others(row.node, "root")
    row.check()
    row.write(90, 3)
    row.held["root-revert"] = row.held["root"]
    row.take("again")
    row.check()
    for name in ("root", "root-revert", "again"):
        assert row.delete(name).waiting == ()
        row.check()


def test_fuel_devops_reverts_beneath_our_snapshots_with_memory(lab: Lab) -> None:
    lab.write("beneath")
    held = lab.seen()
    lab.take("beneath")
    lab.write("above")
    above = lab.seen()
    lab.take("above")
    fuel_devops_reverts_beneath_others(lab.node("two"), "beneath")
    lab.domain("two").resume()
    assert lab.seen().two == held.two
    lab.write("later")
    lab.revert("above")
    assert lab.seen() == above
    lab.revert("beneath")
    assert lab.seen() == held
    lab.delete("beneath-revert")
    lab.check()


def test_fuel_devops_reverts_and_deletes_the_last_of_our_snapshots(lab: Lab) -> None:
    """All but the node with the read-only disk: fuel-devops removes that as well."""
    nodes = [lab.node(name) for name in ("two", "off")]
    lab.write("mine")
    held = lab.seen()
    lab.take("mine")
    lab.write("thrown away")
    for node in nodes:
        fuel_devops_reverts(node, "mine")
    lab.domain("two").resume()
    assert (lab.seen().two, lab.seen().off) == (held.two, held.off)
    lab.check()
    lab.write("on its overlays")
    for node in nodes:
        fuel_devops_deletes(node, "mine")
    assert {finding.kind for finding in compare(lab.environment)} == {"snapshot-forgotten"}
    assert repair(lab.environment).remaining == ()
    snapshots.delete(lab.environment, "mine")  # what is left of it
    assert lab.names() == [BASE]
    lab.check()


def test_fuel_devops_and_a_snapshot_that_is_not_the_current_one(row: Shelf) -> None:
    """It finds no overlay to revert on; deleting, it leaves the guest on the snapshot's layer."""
    with pytest.raises(libvirt.libvirtError, match="no storage vol"):
        fuel_devops_reverts(row.node, "leaf")
    row.check()
    layer = row.layer("leaf")
    fuel_devops_deletes(row.node, "leaf")
    row.content[:] = row.held.pop("leaf")
    assert row.disk == layer
    row.check()
    assert repair(row.environment).remaining == ()
    row.check()
    row.write(80, 9)
    row.take("again")
    row.check()
