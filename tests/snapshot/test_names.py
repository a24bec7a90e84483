"""What a snapshot may be called, and how its files are named."""

from __future__ import annotations

import subprocess

import pytest

from devops_snapshot import snapshot as snapshots
from devops_snapshot.devops.models import Volume
from devops_snapshot.errors import ConflictError, DevopsError, NotFoundError
from devops_snapshot.models import EnvironmentSnapshot
from devops_snapshot.snapshot import pool
from tests.devops.libvirt.builder import Builder

from .lab import Lab, disks

LONGEST = 247  # bytes


@pytest.mark.parametrize(
    "name",
    [
        "after deployment",
        "nächtlicher Lauf",
        'it\'s "quoted"',
        "<a> & 'b'",
        "100% $HOME `id` ;,=\\",
        "x" * LONGEST,
        "ä" * (LONGEST // 2),
    ],
)
def test_any_name_goes_all_the_way(shelf: Builder, name: str) -> None:
    environment, pool_dir = shelf.environment, shelf.host.pool_dir
    files = set(pool_dir.iterdir())
    description = 'two\nlines of <xml> & "quotes"'
    snapshots.create(environment, name, description=description)
    [listed] = snapshots.list_snapshots(environment)
    assert (listed.name, listed.description) == (name, description)
    assert EnvironmentSnapshot.objects.get().name == name
    with pytest.raises(ConflictError, match="is there already"):
        snapshots.create(environment, name)
    snapshots.revert(environment, name)
    snapshots.delete(environment, name)
    assert snapshots.list_snapshots(environment) == []
    assert not EnvironmentSnapshot.objects.exists()
    assert set(pool_dir.iterdir()) == files
    stands_on = {disks(node.domain)["sda"] for node in environment.get_nodes()}
    assert stands_on == {str(path) for path in files}


@pytest.mark.parametrize(
    "name", ["", " ", ".hidden", "a/b", "two\nlines", "\x1b[31m", "x" * (LONGEST + 1)]
)
def test_a_name_that_cannot_be_is_refused_at_once(shelf: Builder, name: str) -> None:
    files = set(shelf.host.pool_dir.iterdir())
    with pytest.raises(DevopsError, match="name"):
        snapshots.create(shelf.environment, name)
    assert set(shelf.host.pool_dir.iterdir()) == files


def test_a_description_that_xml_cannot_hold_is_refused(shelf: Builder) -> None:
    with pytest.raises(DevopsError, match="control characters"):
        snapshots.create(shelf.environment, "name", description="\x1b")


def test_the_memory_of_a_long_name_has_a_name_that_fits(lab: Lab) -> None:
    name = "n" * LONGEST
    lab.take(name)
    memories = lab.memories(name)
    assert {len(path.name) for path in memories} == {255}
    assert len(set(memories)) == 2
    lab.check()


def test_file_names_are_cut_at_whole_characters() -> None:
    fitted = pool.fitting("ä" * 200, "-1")
    assert fitted.endswith("ä-1")
    assert 250 < len(fitted.encode()) <= 255
    assert pool.fitting("short", "-1") == "short-1"


def test_a_name_deleted_behind_our_back_keeps_its_layers_until_it_is_deleted(
    shelf: Builder,
) -> None:
    """fuel-devops and virsh do not know our rows."""
    snapshots.create(shelf.environment, "again")
    files = set(shelf.host.pool_dir.iterdir())
    for node in shelf.environment.get_nodes():
        command = ["virsh", "-c", shelf.host.uri, "snapshot-delete", f"env_{node}", "again"]
        subprocess.run([*command, "--metadata"], check=True, capture_output=True)
    with pytest.raises(NotFoundError, match="'again' is missing on nodes: a, b"):
        snapshots.revert(shelf.environment, "again")
    with pytest.raises(ConflictError, match="is there already"):
        snapshots.create(shelf.environment, "again")
    assert snapshots.tidy(shelf.environment) == []
    assert set(shelf.host.pool_dir.iterdir()) == files
    snapshots.delete(shelf.environment, "again")
    assert {path.name for path in shelf.host.pool_dir.iterdir()} == {"env_a_system", "env_b_system"}
    snapshots.create(shelf.environment, "again")
    assert EnvironmentSnapshot.objects.get().name == "again"


def test_base_images_and_the_layers_of_others_are_never_removed(shelf: Builder) -> None:
    """A volume of another environment may stand on a layer of this one."""
    snapshots.create(shelf.environment, "first")
    snapshots.create(shelf.environment, "second")
    layer = Volume.objects.get(name="system.first", node__name="a")
    foreign = Volume.objects.create(name="foreign", group=shelf.group, backing_store=layer)
    snapshots.revert(shelf.environment, "first")
    snapshots.delete(shelf.environment, "second")
    names = set(Volume.objects.filter(node__name="a").values_list("name", flat=True))
    assert names == {"system", "system.first", "system.first-0"}
    foreign.delete()
    snapshots.create(shelf.environment, "third")
    snapshots.revert(shelf.environment, "first")
    snapshots.delete(shelf.environment, "third")
    snapshots.delete(shelf.environment, "first")
    for node in ("a", "b"):
        assert [volume.name for volume in Volume.objects.filter(node__name=node)] == ["system"]
