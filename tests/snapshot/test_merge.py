"""Deleting snapshots merges their layers: space comes back, and nobody sees other data."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from lxml import etree

from devops_snapshot import snapshot as snapshots
from devops_snapshot.devops.libvirt.models import LibvirtNode
from devops_snapshot.errors import ConflictError
from devops_snapshot.lock import reading
from devops_snapshot.qcow2 import read_header
from devops_snapshot.snapshot import flatten, pool
from devops_snapshot.snapshot.metadata import snapshots_of
from devops_snapshot.write_guard import guarded
from tests.devops.libvirt.builder import Builder

from .lab import BASE, PAUSED, RUNNING, Lab, disks

SIZE = 1 << 20  # bytes of a disk on the shelf
STEP = 64 << 10


class Shelf:
    """A node that is off, whose disk's content is known at each snapshot."""

    def __init__(self, builder: Builder, node: str = "a") -> None:
        self.builder, self.name = builder, node
        self.environment, self.pool = builder.environment, builder.host.pool_dir
        self.content = bytearray(SIZE)
        self.held: dict[str, bytes] = {}

    @property
    def node(self) -> LibvirtNode:
        node: LibvirtNode = self.environment.get_node(name=self.name)
        return node

    @property
    def disk(self) -> str:
        return disks(self.node.domain)["sda"]

    def write(self, pattern: int, position: int, steps: int = 1) -> None:
        qemu_io("-c", f"write -q -P {pattern} {position * STEP} {steps * STEP}", self.disk)
        self.content[position * STEP : (position + steps) * STEP] = bytes([pattern]) * steps * STEP

    def take(self, name: str) -> None:
        snapshots.create(self.environment, name)
        self.held[name] = bytes(self.content)

    def delete(self, name: str) -> snapshots.Deletion:
        del self.held[name]
        return snapshots.delete(self.environment, name)

    def layer(self, name: str) -> str:
        """The file that a snapshot froze."""
        [disk] = snapshots_of(self.node.domain)[name].snapshotted
        return str(disk.path)

    def layers(self) -> list[str]:
        """The disk's chain, top first."""
        chain = [self.disk]
        while below := read_header(Path(chain[-1])).backing_file:
            chain.append(below)
        return chain

    def check(self) -> None:
        assert read_image(self.disk) == self.content
        for name, held in self.held.items():
            assert read_image(self.layer(name)) == held, name

    def grow(self, *names: str) -> None:
        """Snapshots in a row; each layer overwrites something of all before it."""
        for number, name in enumerate(names, start=1):
            self.write(number, 0, steps=number)
            self.take(name)
        self.write(99, 0)


def qemu_io(*arguments: str) -> None:
    subprocess.run(["qemu-io", "-f", "qcow2", *arguments], check=True, capture_output=True)


def read_image(path: str) -> bytes:
    raw = Path(f"{path}.raw")
    subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", path, str(raw)], check=True)
    try:
        return raw.read_bytes()
    finally:
        raw.unlink()


@pytest.fixture
def row(shelf: Builder) -> Shelf:
    """Snapshots ``one`` to ``four`` in a row."""
    row = Shelf(shelf)
    row.grow("one", "two", "three", "four")
    return row


@pytest.mark.parametrize(
    "order", ["one two three four", "four two one three", "three one four two"]
)
def test_layers_go_with_their_names(row: Shelf, order: str) -> None:
    for left, name in zip((3, 2, 1, 0), order.split(), strict=True):
        deletion = row.delete(name)
        assert deletion.waiting == ()
        row.check()
        assert len(row.layers()) == left + 1
    assert row.disk == str(row.pool / "env_a_system")
    assert {path.name for path in row.pool.iterdir()} == {"env_a_system", "env_b_system"}


def test_a_subtree_goes_whole(row: Shelf) -> None:
    snapshots.revert(row.environment, "two")
    row.content[:] = row.held["two"]
    row.write(50, 3)
    row.take("branch")
    snapshots.revert(row.environment, "one")
    row.content[:] = row.held["one"]
    for name in ("two", "three", "four", "branch"):
        del row.held[name]
    deletion = snapshots.delete(row.environment, "two", children=True)
    assert set(deletion.names) == {"two", "three", "four", "branch"}
    assert [item.name for item in snapshots.list_snapshots(row.environment)] == ["one"]
    row.check()
    assert len(row.layers()) == 2
    assert len(list(row.pool.iterdir())) == 4


def test_a_layer_that_two_stand_on_stays_until_one_of_them_goes(row: Shelf) -> None:
    snapshots.revert(row.environment, "two")
    row.content[:] = row.held["two"]
    row.write(51, 5)
    row.take("branch")
    between = row.layer("two")
    content = Path(between).read_bytes()
    row.delete("two")
    row.check()
    assert Path(between).read_bytes() == content
    row.delete("three")
    row.delete("four")
    row.check()
    assert len(row.layers()) == 3  # one, branch, now
    assert len([path for path in row.pool.iterdir() if "env_a" in path.name]) == 3


@pytest.mark.parametrize("held", ["two", "three", "four"])
def test_a_file_with_a_second_name_is_never_written(row: Shelf, tmp_path: Path, held: str) -> None:
    """A spooled export holds it."""
    spooled = row.pool.parent / f"spooled-{held}"
    os.link(row.layer(held), spooled)
    content = spooled.read_bytes()
    try:
        for name in ("three", "two", "one", "four"):
            assert row.delete(name).waiting == ()
            row.check()
            assert spooled.read_bytes() == content
    finally:
        spooled.unlink()
    assert len(row.layers()) == 1


def test_what_somebody_unknown_stands_on_is_never_touched(row: Shelf) -> None:
    """An overlay that a user made by hand; the disk of a machine that is not ours."""
    mine = row.pool / "mine.qcow2"
    options = ["-f", "qcow2", "-F", "qcow2", "-b", row.layer("two")]
    subprocess.run(["qemu-img", "create", "-q", *options, str(mine)], check=True)
    held = row.held["two"]
    for name in ("two", "three", "one", "four"):
        row.delete(name)
        row.check()
        assert read_image(str(mine)) == held
    mine.unlink()
    row.builder.host.connection.storagePoolLookupByName("default").refresh()
    assert snapshots.tidy(row.environment) == []
    row.check()
    assert len(row.layers()) == 1


@contextmanager
def kept_from_writing(path: str) -> Iterator[None]:
    """As AppArmor does: QEMU may read the file, and nothing else."""
    subprocess.run(["chattr", "+i", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


def test_a_merge_that_is_barred_is_put_off_and_shown(row: Shelf) -> None:
    layer = row.layer("one")
    with kept_from_writing(layer), guarded([row.layer("two")]):
        deletion = row.delete("one")
        [waits] = deletion.waiting
        assert (waits.node, waits.path) == ("a", layer)
        row.check()
        assert [wait.path for wait in snapshots.waiting(row.environment)] == [layer]
    assert snapshots.tidy(row.environment) == []
    assert snapshots.waiting(row.environment) == []
    row.check()
    assert len(row.layers()) == 4


def test_while_an_export_reads_nothing_is_deleted_or_merged(row: Shelf) -> None:
    files = set(row.pool.iterdir())
    with reading(row.environment.name):
        with pytest.raises(ConflictError, match="export"):
            snapshots.delete(row.environment, "two")
        snapshots.revert(row.environment, "one")
        assert files - set(row.pool.iterdir()) <= {Path(row.layers()[0])} | files
        row.content[:] = row.held["one"]
        row.check()
    row.delete("two")
    row.check()


@pytest.mark.parametrize("running", [False, True])
def test_chains_stay_short(shelf: Builder, monkeypatch: pytest.MonkeyPatch, running: bool) -> None:
    monkeypatch.setattr("devops_snapshot.snapshot.flatten.MAX_CHAIN", 4)
    row = Shelf(shelf)
    names = [f"s{number}" for number in range(1, 9)]
    for number, name in enumerate(names):
        row.write(number, number)
        if running:
            row.node.start()
        snapshots.create(row.environment, name, nodes=["a"], disk_only=running)
        row.held[name] = bytes(row.content)
        if running:
            row.node.destroy()
        assert len(row.layers()) <= 4
    row.check()
    for name in ("s8", "s1", "s3", "s5"):
        snapshots.revert(row.environment, name)
        row.content[:] = row.held[name]
        assert len(row.layers()) <= 4
        row.check()
    for name in names[1:]:
        assert row.delete(name).waiting == ()
    row.check()
    assert len(row.layers()) == 2


def test_the_next_start_finds_the_merged_layers(shelf: Builder) -> None:
    """libvirt writes the chain of a running guest into its persistent definition."""
    row = Shelf(shelf)
    row.write(1, 1)
    row.node.start()
    snapshots.create(shelf.environment, "first", resume=False, nodes=["a"])
    assert snapshots.delete(shelf.environment, "first").waiting
    snapshots.create(shelf.environment, "second", resume=False, nodes=["a"])
    row.node.destroy()
    assert snapshots.tidy(shelf.environment) == []
    row.node.start()
    live = etree.fromstring(row.node.domain.XMLDesc(0))
    chain = [source.get("file") for source in live.find("devices/disk").iter("source")]
    row.node.destroy()
    assert chain == row.layers()
    assert len(chain) == 2
    row.check()


def test_twenty_images_are_the_most() -> None:
    """Some libvirt versions take 25."""
    assert flatten.MAX_CHAIN == 20


def test_deleting_while_the_guests_run(lab: Lab) -> None:
    held = {BASE: lab.seen()}
    for name in ("first", "second", "third"):
        lab.write(name)
        held[name] = lab.seen()
        lab.take(name)
    lab.write("now")
    now = lab.seen()
    for name in ("second", "third"):  # one that QEMU has open; the one that "now" descends from
        files = len(list(lab.host.pool_dir.iterdir()))
        lab.delete(name)
        assert len(list(lab.host.pool_dir.iterdir())) == files - 7  # five disks, two memories
        lab.check()
        assert lab.seen() == now
        assert lab.states()[:2] == [RUNNING, RUNNING]
    lab.revert("first")
    assert lab.seen() == held["first"]


class Impatient:
    """Whoever presses Ctrl-C as soon as a merge begins."""

    def begin(self, what: str, total: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    def advance(self, count: int) -> None:
        pass


def test_ctrl_c_during_a_merge(lab: Lab) -> None:
    """The name is gone; the merge waits; the guests run on."""
    lab.write("first")
    lab.take("first")
    lab.write("now")
    now = lab.seen()
    with pytest.raises(KeyboardInterrupt):
        snapshots.delete(lab.environment, "first", progress=Impatient())
    assert lab.names() == [BASE]
    assert lab.states()[:2] == [RUNNING, RUNNING]
    assert snapshots.waiting(lab.environment)
    assert lab.seen() == now
    assert snapshots.tidy(lab.environment) == []
    lab.check()
    assert lab.seen() == now


def test_a_linked_layer_of_a_running_guest(lab: Lab) -> None:
    lab.write("first")
    lab.take("first")
    lab.write("now")
    now = lab.seen()
    layers = [disk.path for disk in snapshots_of(lab.domain("one"))["first"].snapshotted]
    spool = lab.host.pool_dir.parent / "spool"
    spool.mkdir()
    for layer in layers:
        os.link(str(layer), spool / Path(str(layer)).name)
    content = {path: path.read_bytes() for path in spool.iterdir()}
    lab.delete("first")
    assert {path: path.read_bytes() for path in spool.iterdir()} == content
    for path in content:
        path.unlink()
    lab.check()
    assert lab.seen() == now


def test_a_guest_that_stands_still_since_its_memory_was_saved(lab: Lab) -> None:
    """Its layers cannot move; they do when it goes on."""
    lab.write("held")
    lab.take("first", resume=False)
    lab.delete("first")
    waits = snapshots.waiting(lab.environment)
    assert {wait.node for wait in waits} == {"one", "two"}
    assert all("memory was saved" in wait.reason for wait in waits)
    assert lab.states()[:2] == [PAUSED, PAUSED]
    lab.host.dos("resume", "env", env=lab.variables)
    assert snapshots.waiting(lab.environment) == []
    lab.check()
    assert "held" in lab.seen().one


def test_the_guard_keeps_qemu_from_writing(row: Shelf) -> None:
    layer = row.layer("two")
    with guarded([layer]):
        refused = subprocess.run(
            ["qemu-img", "commit", "-d", row.layer("three")], capture_output=True, text=True
        )
        assert refused.returncode
        assert "lock" in refused.stderr
        assert read_image(layer) == row.held["two"]
    writer = subprocess.Popen(
        ["qemu-io", "-f", "qcow2", row.layer("four")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        writer.stdin.write(b"length\n")
        writer.stdin.flush()
        os.read(writer.stdout.fileno(), 100)
        with pytest.raises(ConflictError, match="being written"), guarded([row.layer("four")]):
            pass
        writer.communicate(b"quit\n")


@pytest.mark.parametrize(
    ("uri", "here"),
    [
        ("qemu:///system", True),
        ("qemu:///system?socket=/run/libvirt/libvirt-sock", True),
        ("qemu+tcp://localhost/system", True),
        ("qemu+ssh://root@lab-7/system", False),
        ("qemu+tls://[2001:db8::7]:16514/system", False),
    ],
)
def test_files_of_another_host_are_not_taken_for_ours(
    row: Shelf, monkeypatch: pytest.MonkeyPatch, uri: str, here: bool
) -> None:
    """The same path may be another file here."""
    layer = row.layer("one")
    assert pool.is_local(SimpleNamespace(connection_string=uri)) is here
    monkeypatch.setattr(pool, "is_local", lambda _: here)
    waits = [wait for wait in row.delete("one").waiting if wait.node == "a"]
    assert [wait.path for wait in waits] == ([] if here else [layer])
    assert all("another host" in wait.reason for wait in waits)
    row.check()
