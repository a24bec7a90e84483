"""Disks without memory, one snapshot, some nodes: what of a manifest stays."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.importer.choices import Choices
from devops_snapshot.importer.reshape import reshape
from devops_snapshot.importer.reshape.without_memory import newest
from devops_snapshot.manifest import document as d
from devops_snapshot.manifest.check import check_manifest, definition_of
from devops_snapshot.snapshot.domain_xml import disks_of
from tests.manifest.real import document, manifest_of

from .looking import definitions, few, macs, paths, real
from .made_up import manifests, words

# --disks-only


@few
@given(manifests(), st.none() | words())
def test_disks_without_memory(manifest: d.Manifest, name: str | None) -> None:
    shaped = reshape(manifest, Choices(name=name, disks_only=True))
    check_manifest(shaped)
    assert not [file for file in shaped.files if file.role is d.FileRole.MEMORY]
    assert len(shaped.files) == len(manifest.files) - sum(
        file.role is d.FileRole.MEMORY for file in manifest.files
    )
    for node in shaped.environment.nodes:
        for snapshot in node.snapshots:
            assert (snapshot.state, snapshot.memory) == ("shutoff", None)
    text = shaped.to_json().decode()
    for demand in ("pc-i440fx-99.0", "EPYC", "topoext", "snapshot-memory"):
        assert demand not in text


@pytest.mark.parametrize(
    ("exported", "here"),
    [
        ("pc-i440fx-7.2", "pc"),
        ("pc-0.12", "pc"),
        ("pc-1.3", "pc"),
        ("pc-i440fx-jammy", "pc"),
        ("pc-i440fx-rhel7.6.0", "pc"),
        ("rhel6.6.0", "pc"),
        ("pc", "pc"),
        ("pc-q35-9.1", "q35"),
        ("pc-q35-rhel9.4.0", "q35"),
        ("q35", "q35"),
        ("isapc", "isapc"),
        ("virt-8.2", "virt"),
        ("", ""),
    ],
)
def test_machines_by_the_name_that_every_qemu_knows(exported: str, here: str) -> None:
    assert newest(exported) == here


@pytest.mark.parametrize(
    ("exported", "here"),
    [
        (
            "<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>EPYC</model>"
            "<vendor>AMD</vendor><topology sockets='1' dies='1' cores='2' threads='1'/>"
            "<feature policy='require' name='svm'/><numa><cell id='0' cpus='0-1' memory='1'/>"
            "</numa></cpu>",
            '<cpu mode="host-model"><topology sockets="1" dies="1" cores="2" threads="1"/>'
            '<numa><cell id="0" cpus="0-1" memory="1"/></numa></cpu>',
        ),
        (
            "<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>qemu64</model>"
            "<feature policy='require' name='lahf_lm'/></cpu>",
            '<cpu mode="custom" match="exact" check="none">'
            '<model fallback="forbid">qemu64</model></cpu>',
        ),
        (
            "<cpu mode='host-passthrough' check='none' migratable='on'/>",
            '<cpu mode="host-passthrough" check="none" migratable="on"/>',
        ),
        (
            "<cpu mode='host-model' check='partial'><feature policy='disable' name='vmx'/></cpu>",
            '<cpu mode="host-model" check="partial"/>',
        ),
        ("<cpu><topology sockets='2' cores='1' threads='1'/></cpu>",) * 2,
    ],
)
def test_cpus_that_the_host_can_be(exported: str, here: str) -> None:
    changed = document()
    node = changed["environment"]["groups"][0]["nodes"][0]
    start, end = node["domain_xml"].index("<cpu"), node["domain_xml"].index("</cpu>")
    node["domain_xml"] = node["domain_xml"][:start] + exported + node["domain_xml"][end + 6 :]
    shaped = reshape(manifest_of(changed), Choices(disks_only=True))
    squeezed = "".join(
        line.strip() for line in next(shaped.environment.nodes).domain_xml.splitlines()
    )
    assert here.replace("'", '"') in squeezed


def test_internal_snapshots_lose_their_state_and_stay_internal() -> None:
    changed = document()
    for node in changed["environment"]["groups"][0]["nodes"]:
        snapshot = node["snapshots"][0]
        xml = snapshot["xml"].replace(" type='file'>\n      <driver type='qcow2'/>", ">", 1)
        xml = xml.replace("name='sda' snapshot='external'", "name='sda' snapshot='internal'")
        start, end = xml.index("<memory snapshot"), xml.index("/>", xml.index("<memory snapshot"))
        snapshot["xml"] = xml[:start] + "<memory snapshot='internal'" + xml[end:]
        snapshot.update(memory=None, internal=True)
    changed["files"] = [file for file in changed["files"] if file["role"] != "memory"]
    manifest = manifest_of(changed)
    check_manifest(manifest)
    shaped = reshape(manifest, Choices(disks_only=True))
    check_manifest(shaped)
    [snapshot] = next(shaped.environment.nodes).snapshots
    assert (snapshot.state, snapshot.internal) == ("shutoff", True)
    assert "<state>shutoff</state>" in snapshot.xml


# --snapshot, --nodes


@few
@given(st.data(), manifests(least_snapshots=1))
def test_one_snapshot_alone(data: st.DataObject, manifest: d.Manifest) -> None:
    exported = {s.name: s for s in next(manifest.environment.nodes).snapshots}
    name = data.draw(st.sampled_from(sorted(exported)))
    shaped = reshape(manifest, Choices(snapshot=name))
    assert (shaped.snapshots, shaped.current) == ((name,), name)
    for node in shaped.environment.nodes:
        [snapshot] = node.snapshots
        assert (snapshot.name, snapshot.parent) == (name, None)
        frozen = {disk.target: disk.path for disk in disks_of(definition_of(node).root)}
        rows = {volume.id: volume.params["uuid"] for volume in node.volumes}
        assert {
            disk.params["target_dev"]: rows[disk.volume]
            for disk in node.disks
            if disk.volume is not None
        } == frozen
    assert needs_all(shaped)


@few
@given(st.data(), manifests())
def test_some_nodes(data: st.DataObject, manifest: d.Manifest) -> None:
    every = [node.name for node in manifest.environment.nodes]
    names = data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    shaped = reshape(manifest, Choices(nodes=tuple(names)))
    assert [node.name for node in shaped.environment.nodes] == [n for n in every if n in names]
    assert needs_all(shaped)
    assert len(list(shaped.environment.networks)) == len(list(manifest.environment.networks))
    hosts = {
        host.mac
        for l2 in shaped.environment.networks
        if l2.network
        for host in l2.network.dhcp_hosts
    }
    assert hosts == macs(shaped)


def needs_all(manifest: d.Manifest) -> bool:
    """No file could be left out, and rows are those of the files."""
    below = {file.path: file.backing for file in manifest.files}
    used = {disk.path for _, root in definitions(manifest) for disk in disks_of(root) if disk.path}
    used |= {s.memory for node in manifest.environment.nodes for s in node.snapshots if s.memory}
    while not (more := {below[path] for path in used} - {None}) <= used:
        used |= more
    owners = [*manifest.environment.groups, *manifest.environment.nodes]
    rows = {volume.params["uuid"] for owner in owners for volume in owner.volumes}
    ids = {volume.id for owner in owners for volume in owner.volumes}
    assert {v.backing_store for owner in owners for v in owner.volumes} <= ids | {None}
    return used == set(below) and rows <= used


def test_a_middle_snapshot_leaves_what_came_later_and_the_memory_before() -> None:
    manifest = real()
    shaped = reshape(manifest, Choices(snapshot="deployed", nodes=("node-2",)))
    assert {PurePosixPath(path).name for path in paths(shaped)} == {
        "trip_node-2_system",
        "trip_node-2_iso",
        "snapshot-memory-trip_node-2.deployed",
    }


def test_what_the_export_does_not_have() -> None:
    with pytest.raises(NotFoundError, match="no node 'node-9'; it has: node-1, node-2"):
        reshape(real(), Choices(nodes=("node-1", "node-9")))
    with pytest.raises(NotFoundError, match="no snapshot 'later' in the export; it has: deployed"):
        reshape(real(), Choices(snapshot="later"))


def test_a_disk_without_a_row_is_refused() -> None:
    changed = document()
    node = changed["environment"]["groups"][0]["nodes"][0]
    node["volumes"] = [volume for volume in node["volumes"] if volume["name"] != "system"]
    with pytest.raises(FormatError, match="no volume of its"):
        reshape(manifest_of(changed), Choices(snapshot="deployed"))
