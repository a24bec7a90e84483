"""Disk-only snapshots, snapshots of chosen nodes, internal ones beside external ones."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from django.db import connection

from devops_snapshot import snapshot as snapshots
from devops_snapshot.errors import ConflictError, DevopsError, NotFoundError
from devops_snapshot.snapshot.metadata import snapshots_of
from tests.devops.libvirt.builder import Builder

from .lab import BASE, OFF, PAUSED, RUNNING, Lab
from .test_merge import Shelf


def dos(shelf: Builder, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    variables = {
        "DEVOPS_DB_ENGINE": "sqlite3",
        "DEVOPS_DB_NAME": str(connection.settings_dict["NAME"]),
    }
    return shelf.host.dos(*arguments, env=variables, **options)


def test_disks_alone(lab: Lab) -> None:
    """The guests run on; a revert leaves them off, on the disks of then."""
    lab.write("on disk")
    held = lab.seen()
    result = lab.take("disks", disk_only=True)
    assert lab.states() == [RUNNING, RUNNING, OFF]
    assert lab.memories("disks") == []
    assert set(result.freeze_seconds) == {"one", "two"}
    metadata = snapshots_of(lab.domain("one"))["disks"]
    assert metadata.disk_only
    lab.check()
    lab.write("later")
    lab.take("later")
    lab.revert("disks")
    assert lab.states() == [OFF, OFF, OFF]
    lab.check()
    for name in ("one", "two"):
        lab.node(name).start()
    for name in ("one", "two"):
        lab.guest(name).wait_boot()
    for name, before in (("one", held.one), ("two", held.two)):
        script = "for disk in /dev/vd?; do dd if=$disk bs=512 skip=4096 count=1 2>/dev/null; done"
        found = lab.guest(name).run(script)
        assert found.count("on disk") == before.count("on disk") - 1  # all but the note in memory
        assert "later" not in found


def test_chosen_nodes(lab: Lab) -> None:
    lab.write("all")
    lab.take("all")
    lab.write("one alone")
    held = lab.seen()
    lab.take("alone", nodes=["one"])
    assert [item.nodes for item in snapshots.list_snapshots(lab.environment)][-1] == ("one",)
    lab.write("later")
    now = lab.seen()
    lab.revert("alone")
    assert (lab.seen().one, lab.seen().two) == (held.one, now.two)
    lab.check()
    lab.take("whole")
    lab.delete("all")
    lab.delete("alone")
    assert (lab.seen().one, lab.seen().two) == (held.one, now.two)
    lab.check()


def test_a_snapshot_that_a_node_has_lost_is_not_taken_for_one_of_chosen_nodes(
    shelf: Builder,
) -> None:
    snapshots.create(shelf.environment, "both")
    snapshots.create(shelf.environment, "mine", nodes=["b"])
    uri = shelf.host.uri
    command = ["virsh", "-c", uri, "snapshot-delete", "env_a", "both", "--metadata"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(NotFoundError, match="'both' is missing on nodes: a"):
        snapshots.revert(shelf.environment, "both")
    snapshots.revert(shelf.environment, "mine")


def test_the_command_line(shelf: Builder) -> None:
    shelf.environment.get_node(name="a").start()
    told = dos(shelf, "snapshot", "env", "first", "--disk-only", "--nodes", "a").stderr
    assert told.startswith("Snapshot first: guests stood still for ")
    assert "no guest was running" in dos(shelf, "snapshot", "env", "b1", "--nodes", "b").stderr
    dos(shelf, "snapshot", "env", "second", "--suspend")
    assert shelf.environment.get_node(name="a").domain.state()[0] == PAUSED
    listed = json.loads(dos(shelf, "snapshot-list", "env", "--json").stdout)
    assert {item["name"]: item["nodes"] for item in listed} == {
        "first": ["a"],
        "b1": ["b"],
        "second": ["a", "b"],
    }
    for arguments, message in (
        (("--nodes", "c"), "Error: environment 'env' has no node 'c'; it has: a, b\n"),
        (("--nodes", ","), "Error: --nodes ',' names nothing\n"),
    ):
        refused = dos(shelf, "snapshot", "env", "x", *arguments, check=False)
        assert (refused.returncode != 0, refused.stderr) == (True, message)
    put_off = dos(shelf, "snapshot-delete", "env", "second").stderr
    assert "Not merged yet" in put_off
    assert "memory was saved" in put_off
    dos(shelf, "resume", "env")
    assert snapshots.waiting(shelf.environment) == []
    deleted = dos(shelf, "snapshot-delete", "env", "first", "--children").stderr
    assert deleted == "Deleted: first\n"
    assert dos(shelf, "sync", "env").returncode == 0


@pytest.fixture
def row(shelf: Builder) -> Shelf:
    """An internal snapshot ``inside`` of node ``a``, and an external one ``above`` it."""
    shelf.environment.get_node(name="b").remove()  # its disk is raw
    row = Shelf(shelf)
    row.write(1, 0)
    snapshots.create(shelf.environment, "inside", external=False)
    row.write(2, 0)
    row.take("above")
    row.write(3, 0)
    return row


def test_external_snapshots_on_a_disk_with_internal_ones(row: Shelf) -> None:
    environment = row.environment
    row.check()
    with pytest.raises(ConflictError, match="lies inside"):
        snapshots.revert(environment, "inside")
    with pytest.raises(ConflictError, match="lies inside"):
        snapshots.delete(environment, "inside")
    row.check()
    snapshots.revert(environment, "above")
    row.content[:] = row.held["above"]
    row.write(4, 1)
    row.take("second")
    row.delete("above")
    row.check()
    row.delete("second")
    row.check()
    assert len(row.layers()) == 1  # back in the image that has the internal one
    assert [item.name for item in snapshots.list_snapshots(environment)] == ["inside"]
    snapshots.revert(environment, "inside")
    assert row.node.domain.snapshotCurrent().getName() == "inside"
    row.content[:] = bytes([1]) * (64 << 10) + bytes(len(row.content) - (64 << 10))
    row.check()
    snapshots.delete(environment, "inside")
    row.check()


def test_an_internal_snapshot_does_not_stand_on_external_ones(row: Shelf) -> None:
    with pytest.raises(ConflictError, match="external snapshots"):
        snapshots.create(row.environment, "again", external=False)
    for options in ({"nodes": ["a"]}, {"disk_only": True}):
        with pytest.raises(DevopsError, match="internal snapshot is one of all nodes"):
            snapshots.create(row.environment, "again", external=False, **options)


def test_the_base_is_as_it_was(lab: Lab) -> None:
    """``use_host_cpu`` is on in the lab; here are all kinds in one tree, in any order."""
    held = {BASE: lab.seen()}
    lab.take("disks", disk_only=True)
    lab.write("memory")
    held["memory"] = lab.seen()
    lab.take("memory")
    lab.revert("disks")
    lab.revert("memory")
    assert lab.seen() == held["memory"]
    lab.delete("disks")
    assert lab.seen() == held["memory"]
    lab.check()
    lab.revert(BASE)
    assert lab.seen() == held[BASE]
