"""What happens to a merge after its data was moved: faults, guests that start, kills."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devops_snapshot import snapshot as snapshots
from devops_snapshot.errors import HypervisorError
from devops_snapshot.qcow2 import read_header
from devops_snapshot.snapshot import qemu_img
from devops_snapshot.snapshot.sync import compare, repair
from tests.devops.libvirt.builder import Builder

from .test_merge import SIZE, Shelf, disks, kept_from_writing


@pytest.fixture
def row(shelf: Builder) -> Shelf:
    row = Shelf(shelf)
    row.write(9, 0, steps=8)
    row.take("one")
    row.write(1, 0, steps=8)
    row.take("two")
    row.write(2, 4)
    return row


@pytest.fixture
def bush(row: Shelf) -> Shelf:
    """Three leaves on ``three``."""
    row.take("three")
    for number in (1, 2, 3):
        snapshots.revert(row.environment, "three")
        row.content[:] = row.held["three"]
        row.write(20 + number, number)
        row.take(f"leaf{number}")
    return row


def once(action: Callable[..., Any], instead: Callable[[], Any]) -> Callable[..., Any]:
    """The same action, but the first time something else happens after it."""
    calls = []

    def first_time(*arguments: Any) -> None:
        action(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            instead()

    return first_time


def fail() -> None:
    raise HypervisorError("no space left")


def test_a_disk_that_cannot_be_synced(row: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU has moved the guest already: nothing may be undone or tried in another way."""
    row.node.start()
    snapshots.create(row.environment, "three", disk_only=True)
    monkeypatch.setattr(qemu_img, "sync", once(qemu_img.sync, fail))
    snapshots.delete(row.environment, "three")
    assert Path(disks(row.node.domain)["sda"]).exists()
    assert snapshots.tidy(row.environment) == []
    row.node.destroy()
    row.check()
    assert compare(row.environment) == []


def test_a_guest_that_is_started_meanwhile(row: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot begin to write to a layer that is about to go, or it keeps it."""
    row.take("three")
    row.write(3, 0)
    monkeypatch.setattr(qemu_img, "sync", once(qemu_img.sync, row.node.start))
    snapshots.delete(row.environment, "three")
    del row.held["three"]
    live = disks(row.node.domain)["sda"]
    assert Path(live).exists()
    row.node.destroy()
    snapshots.tidy(row.environment)
    row.check()
    assert len(row.layers()) == 3


def test_one_of_those_above_cannot_be_written(bush: Shelf) -> None:
    with kept_from_writing(bush.layer("leaf2")):
        bush.delete("two")
        bush.check()
    assert snapshots.tidy(bush.environment) == []
    bush.check()
    assert compare(bush.environment) == []


def test_interrupted_between_those_above(bush: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    files = len(list(bush.pool.iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(qemu_img, "point_at", once(qemu_img.point_at, interrupt))
        with pytest.raises(KeyboardInterrupt):
            snapshots.delete(bush.environment, "two")
    del bush.held["two"]
    assert repair(bush.environment).remaining == ()
    bush.check()
    assert snapshots.waiting(bush.environment) == []
    assert len([path for path in bush.pool.iterdir() if "env_a" in path.name]) == 6
    assert len(list(bush.pool.iterdir())) == files - 2  # one layer of each node


def test_what_a_guest_writes_into_a_raw_disk_is_not_believed(
    shelf: Builder, tmp_path: Path
) -> None:
    """A qcow2 header that names a file of the host."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"S" * SIZE)
    name = str(secret).encode()
    header = struct.pack(
        ">IIQIIQIIQQIIQ", 0x514649FB, 2, 72, len(name), 16, SIZE, 0, 1, 65536, 131072, 1, 0, 0
    )
    raw = disks(shelf.environment.get_node(name="b").domain)["sda"]
    with Path(raw).open("r+b") as image:
        image.write(header + name)
    content = Path(raw).read_bytes()
    snapshots.create(shelf.environment, "one")
    spooled = shelf.host.directory / "spooled-raw"
    os.link(raw, spooled)  # so that it is pulled
    try:
        assert snapshots.delete(shelf.environment, "one").waiting == ()
    finally:
        spooled.unlink()
    now = disks(shelf.environment.get_node(name="b").domain)["sda"]
    assert now != raw
    assert read_header(Path(now)).backing_file is None
    command = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", now, str(tmp_path / "read")]
    subprocess.run(command, check=True)
    assert (tmp_path / "read").read_bytes() == content
