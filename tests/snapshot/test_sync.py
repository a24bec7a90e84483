"""What ``sync`` finds after others have worked on an environment, and how it repairs that."""

from __future__ import annotations

import io
import json
import re
import subprocess
from pathlib import Path

import libvirt
import pytest
from django.core.management import call_command

from devops_snapshot import snapshot as snapshots
from devops_snapshot.devops.libvirt.models import LibvirtNode
from devops_snapshot.devops.models import Environment, Volume
from devops_snapshot.errors import ConflictError, HypervisorError
from devops_snapshot.lock import changing
from devops_snapshot.models import EnvironmentSnapshot, NodeSnapshot
from devops_snapshot.snapshot.metadata import current_snapshot, snapshots_of
from devops_snapshot.snapshot.records import forget
from devops_snapshot.snapshot.sync import compare, repair
from tests.devops.libvirt.builder import Builder

from .lab import BASE, OFF, RUNNING, Lab, disks

NAMES = ("first", "second", "third")


class Shelf:
    """Two nodes that are off, with snapshots of which each holds bytes of its own on ``a``."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.environment = builder.environment
        self.pool = builder.host.pool_dir
        for number, name in enumerate(NAMES, 1):
            self.fill(number)
            snapshots.create(self.environment, name)
        self.fill(9)

    def node(self, name: str = "a") -> LibvirtNode:
        node: LibvirtNode = self.environment.get_node(name=name)
        return node

    @property
    def active(self) -> str:
        """The file that the disk of ``a`` stands on."""
        return disks(self.node().domain)["sda"]

    def fill(self, byte: int) -> None:
        self._qemu_io(f"write -P {byte} 0 64k")

    def holds(self, byte: int) -> bool:
        """Whether the disk of ``a`` has that byte all over."""
        return "verification failed" not in self._qemu_io(f"read -P {byte} 0 64k")

    def _qemu_io(self, command: str) -> str:
        argv = ["qemu-io", "-f", "qcow2", "-c", command, self.active]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    def virsh(self, *arguments: str) -> None:
        argv = ["virsh", "-c", self.builder.host.uri, *arguments]
        subprocess.run(argv, check=True, capture_output=True)

    def forget_in_libvirt(self, name: str, *nodes: str) -> None:
        for node in nodes or ("a", "b"):
            self.virsh("snapshot-delete", "--metadata", f"env_{node}", name)

    def kinds(self) -> list[str]:
        return [finding.kind for finding in compare(self.environment)]

    def told(self) -> str:
        return "\n".join(map(str, compare(self.environment)))

    def repair(self) -> list[str]:
        """Kinds of the differences that remain."""
        outcome = repair(self.environment)
        assert not outcome.failed
        return [finding.kind for finding in outcome.remaining if finding.differs]

    def check_snapshots(self) -> None:
        """Each holds what it held, and there is nothing that differs."""
        assert compare(self.environment) == []
        for number, name in enumerate(NAMES, 1):
            snapshots.revert(self.environment, name)
            assert self.holds(number), name
            assert current_snapshot(self.node().domain) == name
        assert compare(self.environment) == []


@pytest.fixture
def shelved(shelf: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("HOME", str(tmp_path))  # locks of its own
    return Shelf(shelf)


def test_what_our_commands_do_is_in_step(
    shelved: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("sync", "env")
    assert shelved.holds(9)
    shelved.check_snapshots()
    snapshots.delete(shelved.environment, "second")
    assert compare(shelved.environment) == []
    call_command("sync", repair=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["env: database and libvirt are in step"] * 2


# Snapshots


@pytest.mark.parametrize("name", NAMES)
def test_a_snapshot_that_virsh_forgot_comes_back(shelved: Shelf, name: str) -> None:
    """libvirt 9.0 also lets its children stand on its own layers then: they would be lost."""
    before = {name: item.xml for name, item in snapshots_of(shelved.node().domain).items()}
    shelved.forget_in_libvirt(name)
    kinds = set(shelved.kinds())
    assert kinds == {"snapshot-forgotten"} | ({"snapshot-distorted"} if name != "third" else set())
    assert f"env a: snapshot '{name}' is recorded, but libvirt does not know it" in shelved.told()
    assert shelved.repair() == []
    assert {n: s.xml for n, s in snapshots_of(shelved.node().domain).items()} == before
    assert current_snapshot(shelved.node().domain) == "third"
    assert shelved.holds(9)
    shelved.check_snapshots()


def test_all_snapshots_that_virsh_forgot_come_back(shelved: Shelf) -> None:
    for name in NAMES:
        shelved.forget_in_libvirt(name)
    assert shelved.kinds() == ["snapshot-forgotten"] * 6
    assert shelved.repair() == []
    parents = {n: s.parent for n, s in snapshots_of(shelved.node().domain).items()}
    assert parents == {"first": None, "second": "first", "third": "second"}
    shelved.check_snapshots()


def test_one_whose_layer_is_gone_is_given_up(shelved: Shelf) -> None:
    """``third`` and "now" stand on the same file."""
    layer = snapshots_of(shelved.node("b").domain)["third"].frozen[0].path
    shelved.forget_in_libvirt("third")
    Path(str(layer)).unlink()
    assert re.search(
        rf"env b: snapshot 'third' .* {layer} is missing; --repair forgets this node's part",
        shelved.told(),
    )
    assert shelved.repair() == ["file-missing"]  # of "now"
    assert NodeSnapshot.objects.filter(snapshot__name="third").get().node_name == "a"
    assert "third" in snapshots_of(shelved.node("a").domain)
    assert "third" not in snapshots_of(shelved.node("b").domain)


def test_one_whose_layer_is_written_to_is_given_up(shelved: Shelf) -> None:
    """What ``virsh snapshot-revert`` of an off guest could do, or an editor."""
    layer = snapshots_of(shelved.node().domain)["third"].frozen[0].path
    shelved.forget_in_libvirt("third", "a")
    definition = shelved.node().domain.XMLDesc().replace(shelved.active, str(layer))
    shelved.builder.host.connection.defineXML(definition)
    assert (
        f"disk sda writes to {layer}, which it froze; --repair forgets this node's part of it"
        in shelved.told()
    )
    assert shelved.repair() == []
    assert "third" not in snapshots_of(shelved.node().domain)
    assert shelved.node().disk_devices[0].volume.uuid == layer
    assert shelved.holds(3)


def test_a_layer_that_is_written_to_is_warned_of(shelved: Shelf) -> None:
    layer = snapshots_of(shelved.node().domain)["third"].frozen[0].path
    definition = shelved.node().domain.XMLDesc().replace(shelved.active, str(layer))
    shelved.builder.host.connection.defineXML(definition)
    assert shelved.kinds() == ["disk-moved", "layer-written"]
    assert shelved.repair() == ["layer-written"]
    snapshots.revert(shelved.environment, "third")
    shelved.check_snapshots()


def test_snapshots_that_are_not_recorded(shelved: Shelf) -> None:
    forget(shelved.environment, "second")
    assert shelved.kinds() == ["snapshot-unrecorded"] * 2
    assert shelved.repair() == []
    assert NodeSnapshot.objects.filter(snapshot__name="second").count() == 2
    shelved.check_snapshots()


def test_internal_snapshots_are_no_difference(shelved: Shelf) -> None:
    shelved.virsh("snapshot-create-as", "env_a", "inside")
    assert shelved.kinds() == []


def test_one_that_was_half_taken_is_taken_back(shelved: Shelf) -> None:
    EnvironmentSnapshot.objects.create(
        environment_id=shelved.environment.id, name="half", underway="taking"
    )
    assert shelved.kinds() == ["snapshot-unfinished"]
    assert "env: snapshot 'half' is only half taken" in shelved.told()
    assert shelved.repair() == []
    assert not EnvironmentSnapshot.objects.filter(name="half").exists()


# Domains


def undefine(shelved: Shelf, node: str) -> None:
    shelved.virsh("undefine", "--snapshots-metadata", f"env_{node}")


def test_a_domain_that_is_gone_is_defined_again(shelved: Shelf) -> None:
    uuid = shelved.node().domain.UUIDString()
    serial = re.search("<serial>.*</serial>", shelved.node().domain.XMLDesc())
    undefine(shelved, "a")
    assert shelved.kinds() == ["domain-gone"]
    assert f"env a: its domain (UUID {uuid}) is gone; --repair defines it" in shelved.told()
    assert shelved.repair() == []
    assert shelved.node().domain.UUIDString() == uuid
    assert serial is not None
    assert serial[0] in shelved.node().domain.XMLDesc()
    assert current_snapshot(shelved.node().domain) == "third"
    assert shelved.holds(9)
    shelved.check_snapshots()


def test_a_domain_of_which_nothing_is_recorded(shelf: Builder) -> None:
    domain = shelf.environment.get_node(name="b").domain
    domain.undefine()
    [finding] = repair(shelf.environment).remaining
    assert (finding.node, finding.kind, finding.repair) == ("b", "domain-gone", None)
    assert "nothing" not in str(finding)
    with pytest.raises(ConflictError, match="1 difference between") as caught:
        call_command("sync", "env", stdout=io.StringIO())
    assert caught.value.exit_code == 4


def test_a_domain_whose_name_another_one_has(shelved: Shelf) -> None:
    definition = shelved.node().domain.XMLDesc()
    undefine(shelved, "a")
    connection = shelved.builder.host.connection
    other = connection.defineXML(re.sub("<uuid>.*</uuid>", "", definition))
    assert "another domain is called 'env_a' by now" in shelved.told()
    assert shelved.repair() == ["domain-gone"]
    assert connection.lookupByName("env_a").UUIDString() == other.UUIDString()


def test_guests_whose_domain_is_gone_run_on_from_their_snapshot(lab: Lab) -> None:
    held = lab.seen()
    domain = lab.domain("one")
    domain.destroy()
    domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
    outcome = repair(lab.environment)
    assert [finding.kind for finding in outcome.repaired] == ["domain-gone", "snapshot-forgotten"]
    assert (outcome.remaining, outcome.failed) == ((), {})
    assert lab.states() == [OFF, RUNNING, OFF]
    lab.revert(BASE)
    assert lab.seen() == held
    lab.check()


# Disks and files


def test_snapshots_by_virsh_are_taken_in(shelved: Shelf) -> None:
    """Two of disks alone: overlays without rows, one standing on the other."""
    for number, name in ((10, "by-virsh"), (11, "again")):
        shelved.virsh("snapshot-create-as", "env_a", name, "--disk-only")
        shelved.fill(number)
    assert shelved.kinds() == ["disk-moved", "layer-unknown", *["snapshot-unrecorded"] * 2]
    assert "database does not know; it says" in shelved.told()
    assert shelved.repair() == []
    rows = {volume.name: volume for volume in shelved.node().get_volumes()}
    assert rows["system.again"].backing_store == rows["system.by-virsh"]
    assert rows["system.again"].uuid == shelved.active
    assert rows["system.again"].format == "qcow2"
    assert shelved.holds(11)
    snapshots.create(shelved.environment, "ours")
    snapshots.delete(shelved.environment, "by-virsh")
    snapshots.revert(shelved.environment, "third")
    shelved.check_snapshots()
    snapshots.revert(shelved.environment, "ours")
    assert shelved.holds(11)


def test_an_overlay_outside_of_the_pool_is_only_reported(shelved: Shelf, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    spec = f"--diskspec=sda,file={stranger}"
    shelved.virsh("snapshot-create-as", "env_a", "away", "--disk-only", spec)
    before = list(Volume.objects.values_list("id", "params"))
    assert shelved.repair() == ["disk-moved"]
    assert f"stands on {stranger}" in shelved.told()
    assert list(Volume.objects.values_list("id", "params")) == before


def test_a_disk_with_nothing_of_the_node_beneath_it_is_only_reported(shelved: Shelf) -> None:
    stranger = shelved.pool / "stranger"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", stranger, "1M"], check=True)
    definition = shelved.node().domain.XMLDesc().replace(shelved.active, str(stranger))
    shelved.builder.host.connection.defineXML(definition)
    assert shelved.repair() == ["disk-moved"]
    assert "stands on no volume of the node" in shelved.told()
    assert shelved.active == str(stranger)


def test_what_a_raw_file_says_of_itself_is_not_believed(shelved: Shelf) -> None:
    """A guest may have written the header of an image into its raw disk."""
    raw = shelved.pool / "raw"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", shelved.active, raw]
    subprocess.run(command, check=True)
    root = shelved.node().domain.XMLDesc()
    definition = root.replace(shelved.active, str(raw)).replace("type='qcow2'", "type='raw'")
    shelved.builder.host.connection.defineXML(definition)
    assert shelved.repair() == ["disk-moved"]
    assert not Volume.objects.filter(params__contains=str(raw)).exists()


def test_disks_that_only_one_side_has(shelved: Shelf) -> None:
    domain = shelved.node().domain
    disk = re.search(r"<disk .*?</disk>", domain.XMLDesc(), re.DOTALL)
    assert disk is not None
    other = disk[0].replace("sda", "sdq").replace("slot='0x04'", "slot='0x09'")
    other = re.sub("<serial>.*</serial>", "", other).replace(shelved.active, "/nowhere")
    definition = domain.XMLDesc().replace(disk[0], other)
    shelved.builder.host.connection.defineXML(definition)
    assert shelved.repair() == ["disk-gone", "disk-unknown"]
    snapshots.revert(shelved.environment, "third")
    assert shelved.kinds() == []


def test_rows_follow_headers_to_known_files(shelved: Shelf) -> None:
    """A merge that was killed after QEMU had done its part."""
    base = shelved.node().get_volume(name="system")
    command = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", base.uuid]
    subprocess.run([*command, shelved.active], check=True)
    assert shelved.kinds() == ["layer-moved"]
    assert f"{shelved.active} stands on {base.uuid}, but the database says" in shelved.told()
    assert shelved.repair() == []
    assert shelved.node().disk_devices[0].volume.backing_store == base


def test_rows_do_not_follow_headers_to_unknown_files(shelved: Shelf) -> None:
    command = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "/nowhere"]
    subprocess.run([*command, shelved.active], check=True)
    below = shelved.node().disk_devices[0].volume.backing_store
    assert "layer-moved" in shelved.repair()
    assert shelved.node().disk_devices[0].volume.backing_store == below


def test_a_missing_file_is_told_with_all_that_is_lost(shelved: Shelf) -> None:
    layer = snapshots_of(shelved.node().domain)["second"].frozen[0].path
    Path(str(layer)).unlink()
    [finding] = compare(shelved.environment)
    assert finding.what == (
        f"{layer} is missing, and with it snapshot 'second', snapshot 'third', disk sda"
    )
    assert shelved.repair() == ["file-missing"]
    assert set(snapshots_of(shelved.node().domain)) == set(NAMES)
    assert NodeSnapshot.objects.count() == 6


def test_a_row_without_a_file_that_nobody_needs_is_dropped(shelved: Shelf) -> None:
    node = shelved.node()
    unneeded = node.get_volume(name="system").create_child(name="unneeded")
    unneeded.uuid = str(shelved.pool / "unneeded")
    unneeded.save()
    assert shelved.kinds() == ["volume-empty"]
    child = unneeded.create_child(name="child")
    assert shelved.repair() == ["volume-empty"]  # a row stands on it, and would go with it
    child.delete()
    assert shelved.repair() == []
    assert not Volume.objects.filter(name="unneeded").exists()


def test_memory_of_no_snapshot_is_reported_and_stays(shelved: Shelf) -> None:
    """That of other domains is not ours to speak of, whatever their names begin with."""
    stray = shelved.pool / "snapshot-memory-env_a.gone"
    for path in (stray, shelved.pool / "snapshot-memory-env_ab.x"):
        path.touch()
    other = shelved.node().domain.XMLDesc().replace("<name>env_a<", "<name>env_a.b<")
    shelved.builder.host.connection.defineXML(re.sub("<uuid>.*</uuid>", "", other))
    (shelved.pool / "snapshot-memory-env_a.b.x").touch()
    [finding] = repair(shelved.environment).remaining
    assert finding.what == f"memory file {stray} belongs to no snapshot"
    assert stray.exists()


def test_what_waits_is_told_and_done(shelved: Shelf) -> None:
    """No difference: a command was killed before it could tidy up."""
    layer = str(snapshots_of(shelved.node().domain)["third"].frozen[0].path)
    shelved.forget_in_libvirt("third")
    forget(shelved.environment, "third")
    findings = compare(shelved.environment)
    assert {finding.kind for finding in findings} == {"layer-waits"}
    assert f"({layer}) waits to be removed or merged: " in shelved.told()
    call_command("sync", "env", stdout=io.StringIO())  # exits with 0
    before = shelved.node().get_volumes().count()
    assert repair(shelved.environment).remaining == ()
    assert shelved.node().get_volumes().count() == before - 1
    assert shelved.holds(9)


def test_what_belongs_to_others_is_neither_touched_nor_told(shelved: Shelf) -> None:
    connection = shelved.builder.host.connection
    definition = shelved.node().domain.XMLDesc().replace("env_a", "env_c")
    connection.defineXML(re.sub("<uuid>.*</uuid>", "", definition))
    (shelved.pool / "env_c_system").touch()
    assert shelved.repair() == []
    assert connection.lookupByName("env_c")
    assert (shelved.pool / "env_c_system").exists()


# The command


def test_a_broken_environment_does_not_stop_the_others(shelved: Shelf) -> None:
    broken = Environment.create("broken")
    uri = "qemu:///system?socket=/nowhere"
    group = broken.add_group("default", "devops.driver.libvirt", connection_string=uri)
    group.add_node("node", hypervisor="qemu", uuid="00000000-0000-0000-0000-000000000001")
    shelved.forget_in_libvirt("third", "a")
    out = io.StringIO()
    with pytest.raises(ConflictError, match=r"^1 difference between database and libvirt remain"):
        call_command("sync", repair=True, stdout=out)
    assert "broken: cannot be looked at: cannot connect to libvirt" in out.getvalue()
    assert re.search("^env a: snapshot 'third' .*; repaired$", out.getvalue(), re.MULTILINE)
    with pytest.raises(HypervisorError, match="cannot connect"):
        call_command("sync", "broken")


def test_the_document_for_programs(shelved: Shelf) -> None:
    shelved.forget_in_libvirt("third", "a")
    out = io.StringIO()
    with pytest.raises(ConflictError, match="--repair"):
        call_command("sync", "env", json=True, stdout=out)
    [document] = json.loads(out.getvalue())
    assert document == {
        "environment": "env",
        "repaired": [],
        "remaining": [
            {
                "node": "a",
                "kind": "snapshot-forgotten",
                "what": "snapshot 'third' is recorded, but libvirt does not know it",
                "remedy": "--repair tells it to libvirt again, 'dos.py snapshot-delete' deletes it",
                "repairable": True,
                "differs": True,
                "failure": None,
            }
        ],
    }


def test_only_repairing_needs_the_lock(shelved: Shelf) -> None:
    with changing("env"):
        call_command("sync", "env")
        with pytest.raises(ConflictError, match="another command is changing"):
            call_command("sync", "env", repair=True)
