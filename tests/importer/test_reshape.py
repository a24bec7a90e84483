"""Manifests as a user wants them: whatever the environment is like, and whatever it is called."""

from __future__ import annotations

import json
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devops_snapshot.devops.libvirt import names
from devops_snapshot.errors import UsageError
from devops_snapshot.importer.choices import Choices
from devops_snapshot.importer.findings import Verdict
from devops_snapshot.importer.reshape import notes, reshape
from devops_snapshot.manifest import document as d
from devops_snapshot.manifest.check import check_manifest, definition_of
from tests.manifest.real import document, manifest_of

from .looking import definitions, few, macs, paths, real, uuids
from .made_up import TOKEN, manifests, words


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


@few
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


@few
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
        cards = {mac.get("address") for mac in root.iterfind("devices/interface/mac")}
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
    changed["files"][1]["backing"] = taken
    shaped = reshape(manifest_of(changed), Choices(name="copy"))
    check_manifest(shaped)
    assert f"{taken}-0" in paths(shaped)
    assert taken in paths(shaped)


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
