"""Manifests as a user wants them: whatever the environment is like, and whatever it is called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devops_snapshot.devops.libvirt import names
from devops_snapshot.errors import FormatError, NotFoundError, UsageError
from devops_snapshot.importer.choices import Choices
from devops_snapshot.importer.findings import Verdict
from devops_snapshot.importer.reshape import notes, reshape, spelled_apart
from devops_snapshot.importer.reshape.macs import plain_mac
from devops_snapshot.importer.reshape.without_memory import newest
from devops_snapshot.manifest import document as d
from devops_snapshot.manifest.check import check_manifest, definition_of, definitions_in
from devops_snapshot.snapshot.domain_xml import disks_of
from tests.manifest.real import document, manifest_of

from .made_up import TOKEN, manifests, words

few = settings(max_examples=30, deadline=None)


def real() -> d.Manifest:
    return manifest_of(document())


@st.composite
def chosen(draw: st.DrawFn, manifest: d.Manifest) -> Choices:
    """Any that the manifest has an answer to."""
    nodes = [node.name for node in manifest.environment.nodes]
    node = next(manifest.environment.nodes)
    snapshots = [None, *(snapshot.name for snapshot in node.snapshots)]
    return Choices(
        name=draw(st.none() | words()),
        disks_only=draw(st.booleans()),
        snapshot=draw(st.sampled_from(snapshots)),
        nodes=tuple(draw(st.lists(st.sampled_from(nodes), unique=True))),
    )


def uuids(manifest: d.Manifest) -> set[str]:
    environment = manifest.environment
    networks = {l2.network.uuid for l2 in environment.networks if l2.network is not None}
    return networks | {definition_of(node).uuid for node in environment.nodes}


def macs(manifest: d.Manifest) -> set[str]:
    return {i.mac_address for node in manifest.environment.nodes for i in node.interfaces}


def paths(manifest: d.Manifest) -> list[str]:
    return [file.path for file in manifest.files]


def definitions(manifest: d.Manifest) -> Iterator[tuple[d.Node, object]]:
    for node in manifest.environment.nodes:
        yield node, definition_of(node).root
        for snapshot in node.snapshots:
            for definition in definitions_in(snapshot, node.name):
                yield node, definition.root


# All together


@few
@given(st.data(), manifests())
def test_what_comes_out_is_a_manifest_that_stays_as_it_is(
    data: st.DataObject, manifest: d.Manifest
) -> None:
    check_manifest(manifest)
    choices = data.draw(chosen(manifest))
    shaped = reshape(manifest, choices)
    check_manifest(shaped)
    assert reshape(shaped, choices) == shaped
    assert d.Manifest.from_json(shaped.to_json()) == shaped
    assert all(note.verdict is Verdict.NOTE for note in notes(manifest, shaped, choices))
    for file in shaped.files:
        assert file.backing is None or file.backing in paths(shaped)


@given(manifests())
def test_without_choices_nothing_changes(manifest: d.Manifest) -> None:
    assert reshape(manifest, Choices()) == manifest
    assert reshape(manifest, Choices(name=manifest.environment.name)) == manifest
    assert not list(notes(manifest, manifest, Choices()))


# --name


@few
@given(manifests(), words(120), st.booleans())
def test_nothing_of_the_old_name_remains(manifest: d.Manifest, name: str, disks: bool) -> None:
    text = reshape(manifest, Choices(name=name, disks_only=disks)).to_json().decode()
    assert TOKEN in manifest.to_json().decode()
    assert TOKEN not in text
    for identity in uuids(manifest):
        assert identity not in text


@few
@given(manifests(), words(120))
def test_names_are_those_that_fuel_devops_would_have_given(manifest: d.Manifest, name: str) -> None:
    environment = reshape(manifest, Choices(name=name)).environment
    assert environment.name == name
    for l2 in environment.networks:
        assert l2.network is not None
        assert l2.network.name == names.network_name(name, l2.name)
        assert f"<name>{l2.network.name}<" in l2.network.xml or "&" in l2.network.xml
        assert l2.params["uuid"] == l2.network.uuid
    for group in environment.groups:
        for owner in (group, *group.nodes):
            for volume in owner.volumes:
                file = PurePosixPath(volume.params["uuid"]).name
                assert file == names.volume_name(name, owner.name, volume.name)
    for node in environment.nodes:
        assert definition_of(node).name == names.domain_name(name, node.name)


@few
@given(manifests(), words(120))
def test_there_and_back_again(manifest: d.Manifest, name: str) -> None:
    """All but the UUIDs, and what the import drops anyway, is as it was."""
    back = reshape(reshape(manifest, Choices(name=name)), Choices(name=manifest.environment.name))
    assert paths(back) == paths(manifest)
    assert back.files == manifest.files
    assert macs(back) == macs(manifest)
    for one, other in zip(manifest.environment.nodes, back.environment.nodes, strict=True):
        assert one.volumes == other.volumes
        assert definition_of(one).name == definition_of(other).name
        assert definition_of(one).networks == definition_of(other).networks
        assert [s.memory for s in one.snapshots] == [s.memory for s in other.snapshots]


@few
@given(manifests(), words(), words())
def test_each_name_has_uuids_of_its_own(manifest: d.Manifest, one: str, other: str) -> None:
    first, second = (uuids(reshape(manifest, Choices(name=name))) for name in (one, other))
    assert not first & uuids(manifest)
    assert (first == second) == (one == other)
    assert len(first) == len(uuids(manifest))


@given(manifests(least_snapshots=1), words())
def test_memory_keeps_the_mac_addresses_it_was_saved_with(manifest: d.Manifest, name: str) -> None:
    shaped = reshape(manifest, Choices(name=name))
    assert macs(shaped) == macs(manifest)
    disks = reshape(manifest, Choices(name=name, disks_only=True))
    assert not macs(disks) & macs(manifest)
    assert len(macs(disks)) == len(macs(manifest))
    hosts = {
        host.mac
        for l2 in disks.environment.networks
        if l2.network
        for host in l2.network.dhcp_hosts
    }
    assert hosts == macs(disks)
    for _, root in definitions(disks):
        cards = {mac.get("address") for mac in root.iterfind("devices/interface/mac")}  # type: ignore[attr-defined] # lxml
        assert cards <= macs(disks)
    for mac in macs(manifest):
        assert mac not in disks.to_json().decode()


def with_volume_at(path: str, **params: object) -> d.Manifest:
    """The real one, its base image somewhere else."""
    text = json.dumps(document()).replace("/var/lib/libvirt/images/trip_default_base", path)
    changed = json.loads(text)
    changed["environment"]["groups"][0]["volumes"][0]["params"].update(params)
    return manifest_of(changed)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/images/ubuntu.qcow2", "/images/ubuntu.qcow2"),
        ("/images/trip.qcow2", "/images/trip.qcow2"),
        ("/images/trip_tools_base", "/images/trip_tools_base"),  # of another environment
        ("/images/trip_default_base", "/images/copy_default_base"),
        ("/images/trip_default_base-0", "/images/copy_default_base-0"),
        ("/images/trip_node-1_base.merged", "/images/copy_node-1_base.merged"),
        ("/images/0trip_default_base", "/images/0trip_default_base"),
    ],
)
def test_only_what_follows_the_environments_name_is_renamed(before: str, after: str) -> None:
    manifest = with_volume_at(before)
    shaped = reshape(manifest, Choices(name="copy"))
    check_manifest(shaped)
    assert paths(shaped)[paths(manifest).index(before)] == after


def test_a_shared_image_stays_whatever_it_is_called() -> None:
    manifest = with_volume_at(
        "/images/trip_default_base", shared_backing_store_name="trip_default_base"
    )
    assert "/images/trip_default_base" in paths(reshape(manifest, Choices(name="copy")))


def test_a_name_that_was_cut_and_of_which_no_row_tells() -> None:
    old = "n" * 30
    visible = f"{old}_default_something_or_other"
    first, second = (f"/images/{digit * 32}{visible}"[: len("/images/") + 80] for digit in "ab")
    text = json.dumps(document()).replace("trip", old)
    changed = json.loads(text)
    for path in (first, second):
        changed["files"].append({**changed["files"][0], "path": path, "backing": None})
    shaped = reshape(manifest_of(changed), Choices(name="copy"))
    fresh = [PurePosixPath(path).name for path in paths(shaped)[-2:]]
    assert fresh[0] != fresh[1]
    for name in fresh:
        assert len(name) <= 80
        assert name[32:].startswith("copy_default_something")


def test_two_files_do_not_become_one() -> None:
    changed = document()
    taken = "/var/lib/libvirt/images/copy_default_base"
    changed["files"].insert(0, {**changed["files"][0], "path": taken, "backing": None})
    shaped = reshape(manifest_of(changed), Choices(name="copy"))
    check_manifest(shaped)
    assert f"{taken}-0" in paths(shaped)
    assert taken in paths(shaped)


def filtered() -> d.Manifest:
    """The real one, if its driver had ``enable_nwfilters``."""
    changed = document()
    group = changed["environment"]["groups"][0]
    names = {l2["id"]: f"trip_{l2['name']}" for l2 in group["l2_network_devices"]}
    for l2 in group["l2_network_devices"]:
        l2["nwfilter"] = {"name": names[l2["id"]], "includes": None, "blocked": False}
    for node in group["nodes"]:
        for card in node["interfaces"]:
            includes = names[card["l2_network_device"]]
            name = f"{includes}_{card['mac_address']}"
            card["nwfilter"] = {"name": name, "includes": includes, "blocked": True}
            for owner, key, quote in [
                (node, "domain_xml", '"'),
                *((snapshot, "xml", "'") for snapshot in node["snapshots"]),
            ]:
                source = f"<source network={quote}{includes}{quote}/>"
                assert source in owner[key]
                owner[key] = owner[key].replace(source, f"{source}<filterref filter='{name}'/>")
    return manifest_of(changed)


@pytest.mark.parametrize("disks", [False, True])
def test_network_filters_follow(disks: bool) -> None:
    manifest = filtered()
    check_manifest(manifest)
    shaped = reshape(manifest, Choices(name="copy", disks_only=disks))
    check_manifest(shaped)  # names and MAC addresses fit
    apart = spelled_apart(shaped, macs=macs(shaped))
    check_manifest(apart)
    for one in (shaped, apart):
        for node in one.environment.nodes:
            filters = {card.nwfilter.name for card in node.interfaces if card.nwfilter}
            assert definition_of(node).nwfilters == filters
            assert len(filters) == 2
            assert all(name.startswith("copy_") for name in filters)
    assert not macs(apart) & macs(shaped)


@pytest.mark.parametrize(
    "name",
    ["", " ", ".hidden", "a/b", "a\nb", "a" * 256, "\N{PILE OF POO}" * 64],
)
def test_names_that_no_environment_can_have(name: str) -> None:
    with pytest.raises(UsageError):
        reshape(real(), Choices(name=name))


def told(manifest: d.Manifest, choices: Choices) -> str:
    shaped = reshape(manifest, choices)
    return "; ".join(note.what for note in notes(manifest, shaped, choices))


def test_users_are_told_what_is_not_as_it_was() -> None:
    manifest = real()
    assert "UUID of its original (SMBIOS) until it reboots" in told(manifest, Choices(name="copy"))
    disks = told(manifest, Choices(name="copy", disks_only=True))
    assert "SMBIOS" not in disks
    assert "new MAC addresses" in disks
    assert "memory stays behind" in disks
    assert "pc-i440fx-7.2 becomes the newest 'pc' of this host" in disks
    assert "node-1 stay behind" in told(manifest, Choices(nodes=("node-2",)))
    assert told(manifest, Choices(snapshot="deployed")) == ""  # it has no other


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
    used = {disk.path for _, root in definitions(manifest) for disk in disks_of(root) if disk.path}  # type: ignore[arg-type] # lxml
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


# Rows beside those of the original


@few
@given(manifests(), st.integers(1, 20))
def test_copies_have_rows_of_their_own_that_mean_the_same(
    manifest: d.Manifest, copies: int
) -> None:
    taken_macs: set[str] = set()
    taken_subnets: set[str] = set()
    for _ in range(copies):
        copy = spelled_apart(manifest, macs=taken_macs, subnets=taken_subnets)
        check_manifest(copy)
        subnets = {pool.net for pool in copy.environment.address_pools}
        assert not macs(copy) & taken_macs
        assert not subnets & taken_subnets
        assert {plain_mac(mac) for mac in macs(copy)} == {plain_mac(m) for m in macs(manifest)}
        taken_macs |= macs(copy)
        taken_subnets |= subnets
    assert spelled_apart(manifest) == manifest


def test_an_address_without_letters_has_several_spellings_too() -> None:
    manifest = manifest_of(
        json.loads(json.dumps(document()).replace("64:ec:28:30:d9:48", "64:11:28:30:99:48"))
    )
    taken: set[str] = set()
    for _ in range(32):
        taken |= macs(spelled_apart(manifest, macs=taken))
    assert sum(plain_mac(mac) == "641128309948" for mac in taken) == 32
