"""Disks over several paths: libvirt puts no overlay on them, so they are copied."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
import pytest
from lxml import etree

from devops_snapshot import snapshot as snapshots
from devops_snapshot.devops.libvirt.models import LibvirtNode, LibvirtVolume
from devops_snapshot.devops.models import Environment, Volume
from devops_snapshot.errors import ConflictError, DevopsError, UnsupportedError
from devops_snapshot.models import EnvironmentSnapshot
from devops_snapshot.snapshot.metadata import snapshots_of
from devops_snapshot.snapshot.sync import compare
from tests.bed import Bed, Host
from tests.devops.databases import sqlite_environment, used_database
from tests.devops.libvirt.builder import MIB, Builder

from .killer import NEVER, Dos, Ended, Moment
from .lab import define, disks

SIZE = 4 << 20
HERE = 1 << 20
"""Where tests write 64 KiB."""
NAMES = {"system", "shared"}
SMALL: dict[str, Any] = {"memory": 16, "has_vnc": False, "has_videocard": False, "boot": ["hd"]}
SYSTEM = {"name": "system", "capacity": MIB}
SHARED = {"name": "shared", "capacity": 4 * MIB, "format": "raw", "multipath_count": 2}


@pytest.fixture
def host(bed: Bed) -> Iterator[Host]:
    host = bed.host("beta")
    yield host
    host.clean()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[dict[str, str]]:
    variables = sqlite_environment(tmp_path / "devops.sqlite3")
    with used_database(variables):
        yield variables


class Paths:
    """Node ``a`` with a disk of its own, and one over two paths."""

    def __init__(self, host: Host) -> None:
        self.host = host

    @classmethod
    def build(cls, host: Host) -> Paths:
        builder = Builder(host)
        builder.node("a", volumes=[SYSTEM, SHARED], **SMALL)
        define(builder)
        return cls(host)

    @property
    def environment(self) -> Environment:
        return Environment.get(name="env")

    @property
    def node(self) -> LibvirtNode:
        return LibvirtNode.objects.get(name="a")

    @property
    def domain(self) -> libvirt.virDomain:
        return self.node.domain

    @property
    def volume(self) -> LibvirtVolume:
        return LibvirtVolume.objects.get(name="shared")

    @property
    def file(self) -> Path:
        """What the guest writes to now."""
        return Path(str(self.volume.uuid))

    def write(self, number: int, *, path: int = 0, domain: libvirt.virDomain | None = None) -> None:
        """Where QEMU is on, it does so, over one of the paths."""
        domain = domain or self.domain
        if domain.isActive():
            device = open_devices(domain, self.file)[path]
            flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            line = f'qemu-io -d {device} "write -q -P {number} {HERE} 64k"'
            assert libvirt_qemu.qemuMonitorCommand(domain, line, flags) == ""
        else:
            with self.file.open("r+b") as file:
                file.seek(HERE)
                file.write(bytes([number]) * (64 << 10))

    def holds(self, number: int, *, domain: libvirt.virDomain | None = None) -> bool:
        """Whether that was written last; and QEMU, where it is on, has it open over both paths."""
        domain = domain or self.domain
        assert not domain.isActive() or len(open_devices(domain, self.file)) == 2
        return self.file.read_bytes() == content(number)

    def copy(self, name: str) -> Path:
        """The one that a snapshot names, over both paths."""
        [snapshot] = [item for item in snapshots_of(self.domain).values() if item.name == name]
        [path] = {str(disk.path) for disk in snapshot.copied}
        return Path(path)

    def check(self, *names: str) -> None:
        """Database, libvirt and files tell the same, and nothing is left over."""
        memories = set()
        for node in self.environment.get_nodes():
            now = disks(node.domain)
            assert now == disks(node.domain, libvirt.VIR_DOMAIN_XML_INACTIVE)
            assert now == {row.target_dev: row.volume.uuid for row in node.disk_devices}
            assert set(snapshots_of(node.domain)) == set(names)
            memories |= {item.memory_path for item in snapshots_of(node.domain).values()}
        known = {str(volume.uuid) for volume in Volume.objects.all()} | memories - {None}
        assert known == {str(path) for path in self.host.pool_dir.iterdir()}
        assert {row.name for row in EnvironmentSnapshot.objects.all()} == set(names)
        assert compare(self.environment) == []
        assert snapshots.waiting(self.environment) == []


def content(number: int) -> bytes:
    return bytes(HERE) + bytes([number]) * (64 << 10) + bytes(SIZE - HERE - (64 << 10))


def open_devices(domain: libvirt.virDomain, file: Path) -> list[str]:
    """QEMU's devices that have a file open."""
    answer = libvirt_qemu.qemuMonitorCommand(domain, '{"execute":"query-block"}', 0)
    devices = json.loads(answer)["return"]
    return sorted(d["qdev"] for d in devices if d.get("inserted", {}).get("file") == str(file))


@pytest.fixture
def paths(host: Host, database: dict[str, str]) -> Paths:
    return Paths.build(host)


@pytest.mark.parametrize("on", [True, False])
def test_a_snapshot_names_a_copy_and_a_revert_makes_another(paths: Paths, on: bool) -> None:
    if on:
        paths.domain.create()
    first = paths.file
    paths.write(1)
    snapshots.create(paths.environment, "one")
    assert paths.file == first
    paths.write(2, path=1)
    snapshots.create(paths.environment, "two")
    paths.write(3)
    assert paths.copy("one").read_bytes() == content(1)
    assert paths.copy("one").stat().st_blocks * 512 < SIZE // 2  # holes stay holes
    paths.check("one", "two")

    snapshots.revert(paths.environment, "one", resume=True)
    assert paths.holds(1)
    assert not first.exists()
    paths.check("one", "two")
    paths.write(4)
    snapshots.revert(paths.environment, "two", resume=True)
    assert paths.holds(2)
    paths.write(5, path=1)
    snapshots.revert(paths.environment, "one", resume=True)
    assert paths.holds(1)
    assert paths.copy("two").read_bytes() == content(2)
    copy = paths.copy("one")
    snapshots.delete(paths.environment, "one")
    assert not copy.exists()
    paths.check("two")
    snapshots.delete(paths.environment, "two")
    paths.check()
    assert paths.holds(1)
    assert {volume.name for volume in Volume.objects.filter(backing_store=None)} == NAMES
