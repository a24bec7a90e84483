"""An environment to take snapshots of, driven from this process.

``one`` runs, with two disks on one base image, a cdrom and a read-only USB stick; ``two`` runs,
with a disk of its own and a raw one; ``off`` is shut off. CPUs are the best that QEMU can emulate.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree

from devops_snapshot import snapshot as snapshots
from devops_snapshot.devops.libvirt.models import LibvirtNode
from devops_snapshot.devops.models import Volume
from devops_snapshot.hypervisor import is_postmigrate
from devops_snapshot.models import EnvironmentSnapshot
from devops_snapshot.snapshot.metadata import current_snapshot, snapshots_of
from tests.bed import Guest, Host
from tests.bed.guest_image import guest_iso
from tests.devops.databases import sqlite_environment, used_database
from tests.devops.libvirt.builder import MIB, Builder

BASE = "base"
RUNNING, PAUSED, OFF = (
    libvirt.VIR_DOMAIN_RUNNING,
    libvirt.VIR_DOMAIN_PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF,
)

WRITE = """
for disk in /dev/vd?; do echo "{text}" | dd of=$disk bs=512 seek=4096 conv=notrunc; done
sync
echo "{text}" > /run/note
"""
READ = """
echo 3 > /proc/sys/vm/drop_caches
cat /run/note
for disk in /dev/vd?; do
    dd if=$disk bs=512 skip=4096 count=1 2>/dev/null | head -n 1
    dd if=$disk bs=64K count=1 2>/dev/null | md5sum
done
"""


@dataclass(frozen=True)
class Seen:
    """What every node holds: its memory and disks; of ``off`` the disk alone."""

    one: str
    two: str
    off: str


class Lab:
    """:param database: an SQLite file"""

    def __init__(self, host: Host, database: Path) -> None:
        self.host = host
        self.database = database
        self.variables = {"DEVOPS_DB_ENGINE": "sqlite3", "DEVOPS_DB_NAME": str(database)}
        self._is_sound = False

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside, it is at snapshot ``base`` at first, and Django uses its database.

        Where a test left it in pieces, it is made anew for the next one.
        """
        if not self._is_sound:
            self.host.clean()
            sqlite_environment(self.database)
        with used_database(self.variables):
            if not self._is_sound:
                self._build()
            self._is_sound = False
            yield
            self.reset()
            self.check()
            self._is_sound = True

    def _build(self) -> None:
        """Define all, boot two guests, and take the snapshot ``base``."""
        iso = {"name": "iso", "source_image": str(guest_iso()), "device": "cdrom", "bus": "scsi"}
        iso["format"] = "raw"
        builder = Builder(self.host, use_host_cpu=True)
        builder.base_image(source_image=str(self._image()))
        builder.node(
            "one",
            volumes=[
                {"name": "system", "backing_store": "base"},
                {"name": "data", "backing_store": "base"},
                iso,
                {"name": "stick", "capacity": MIB, "bus": "usb", "format": "raw"},
            ],
        )
        builder.node(
            "two",
            volumes=[
                {"name": "system", "capacity": 16 * MIB},
                {"name": "raw", "capacity": 16 * MIB, "format": "raw"},
                iso,
            ],
        )
        builder.node("off", volumes=[{"name": "system", "capacity": 16 * MIB}])
        define(builder)
        self.environment = builder.environment
        for name in ("one", "two"):
            self.node(name).start()
        for name in ("one", "two"):
            self.guest(name).wait_boot()
        self.write("at first")
        self.take(BASE)

    def _image(self) -> Path:
        """A base image with something on it."""
        image, raw = self.host.directory / "lab.qcow2", self.host.directory / "lab.raw"
        raw.write_bytes(random.Random(7).randbytes(1 << 20) + bytes(15 << 20))
        command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)]
        subprocess.run(command, check=True)
        return image

    def reset(self) -> None:
        """Back to ``base``, and nothing but that is left."""
        self.revert(BASE)
        for name in reversed(self.names()):
            if name != BASE:
                self.delete(name)

    # The environment

    def node(self, name: str) -> LibvirtNode:
        node: LibvirtNode = self.environment.get_node(name=name)
        return node

    @property
    def nodes(self) -> dict[str, LibvirtNode]:
        return {node.name: node for node in self.environment.get_nodes()}

    def domain(self, name: str) -> libvirt.virDomain:
        return self.host.connection.lookupByName(f"env_{name}")

    def guest(self, name: str) -> Guest:
        return self.host.guest(f"env_{name}")

    def states(self) -> list[int]:
        return [self.domain(name).state()[0] for name in ("one", "two", "off")]

    def take(self, name: str, **options: Any) -> snapshots.SnapshotResult:
        return snapshots.create(self.environment, name, **options)

    def revert(self, name: str, *, resume: bool = True) -> None:
        snapshots.revert(self.environment, name, resume=resume)

    def delete(self, name: str) -> None:
        snapshots.delete(self.environment, name)

    def names(self) -> list[str]:
        return [item.name for item in snapshots.list_snapshots(self.environment)]

    def currents(self) -> set[str | None]:
        """The snapshots that the nodes' "now" descends from."""
        return {current_snapshot(node.domain) for node in self.nodes.values()}

    def memories(self, name: str) -> list[Path]:
        """Memory files of a snapshot."""
        found = (snapshots_of(node.domain)[name].memory_path for node in self.nodes.values())
        return [Path(path) for path in found if path]

    # What it holds

    def write(self, text: str) -> None:
        """Leave a text in memory and on all disks, also that of the node that is off."""
        self._run(WRITE.format(text=text))
        pattern = sum(text.encode()) % 256
        self._qemu_io("off", f"write -P {pattern} 0 64k")

    def seen(self) -> Seen:
        return Seen(
            *self._run(READ),
            off=re.findall(r"^0+:.*", self._qemu_io("off", "read -v 0 16"), re.MULTILINE)[0],
        )

    def _run(self, script: str) -> list[str]:
        """What both guests say; right after a revert they take their time."""
        with ThreadPoolExecutor() as both:
            return list(both.map(lambda name: self.guest(name).run(script), ("one", "two")))

    def _qemu_io(self, name: str, command: str) -> str:
        image = disks(self.domain(name))["sda"]
        done = subprocess.run(
            ["qemu-io", "-f", "qcow2", "-c", command, image],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout

    # Whether all agree

    def check(self) -> None:
        """Database, libvirt and files tell the same; no file is left over, none is missing."""
        memories = set()
        for node in self.nodes.values():
            now = disks(node.domain)
            assert now == disks(node.domain, libvirt.VIR_DOMAIN_XML_INACTIVE), node
            rows = {disk.target_dev: disk.volume.uuid for disk in node.disk_devices}
            assert now == rows, node
            for snapshot in snapshots_of(node.domain).values():
                memories.add(snapshot.memory_path)
                for disk in snapshot.snapshotted:
                    assert Path(str(disk.path)).exists(), snapshot.name
        known = {volume.uuid for volume in Volume.objects.all()} | memories - {None}
        assert known == {str(path) for path in self.host.pool_dir.iterdir()}
        rows = EnvironmentSnapshot.objects.filter(environment=self.environment)
        assert {row.name for row in rows} == set(self.names())
        if not any(is_saved(node.domain) for node in self.nodes.values()):
            assert snapshots.waiting(self.environment) == []


def is_saved(domain: libvirt.virDomain) -> bool:
    """Whether the guest stands still since its memory was saved, so that layers cannot move."""
    return bool(domain.isActive()) and is_postmigrate(domain)


def disks(domain: libvirt.virDomain, flags: int = 0) -> dict[str, str]:
    """Disk target to file, of a domain as it runs or will run."""
    found = {}
    for disk in etree.fromstring(domain.XMLDesc(flags)).iterfind("devices/disk"):
        found[disk.find("target").get("dev")] = disk.find("source").get("file")
    return found


def define(builder: Builder) -> None:
    """Define all that a builder has."""
    for volume in builder.group.get_volumes():
        volume.define()
    for node in builder.environment.get_nodes():
        for volume in node.get_volumes():
            volume.define()
        node.define()
