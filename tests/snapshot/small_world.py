"""An environment of two small nodes that can be brought back within a moment, snapshots and all.

Node ``a`` has a qcow2 disk, ``b`` a raw one. No system is on them: a node that is on stays in its
BIOS, and what is written while it runs is written by its QEMU. The snapshots are at first::

    one -+- leaf
         `- two -- three -- (now)
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
from blake3 import blake3
from django.db import connections

from devops_snapshot import snapshot as snapshots
from devops_snapshot.devops.libvirt.models import LibvirtVolume
from devops_snapshot.devops.models import Environment
from devops_snapshot.hypervisor import run_state
from devops_snapshot.models import EnvironmentSnapshot
from devops_snapshot.qcow2 import read_header
from devops_snapshot.snapshot.metadata import SnapshotMetadata, current_snapshot, snapshots_of
from devops_snapshot.snapshot.sync import compare
from tests.bed import Host
from tests.devops.libvirt.builder import MIB, Builder

from .lab import define, disks, is_saved

STEP = 64 << 10
SIZE = 1 << 20
RUNNING, PAUSED, OFF = "running", "paused", "shutoff"

Content = dict[str, bytes]
"""Node to what is on its disk."""


@dataclass
class World:
    """The environment, and what it must hold.

    :param held: snapshot to what it holds
    :param now: what the disks hold
    :param written: what was on the disks when their guests were switched on
    """

    host: Host
    directory: Path
    held: dict[str, Content] = field(default_factory=dict)
    now: Content = field(default_factory=lambda: {"a": bytes(SIZE), "b": bytes(SIZE)})

    written: Content = field(default_factory=dict)

    def build(self) -> None:
        builder = Builder(self.host)
        small: dict[str, Any] = {"memory": 16, "has_vnc": False, "has_videocard": False}
        for node, image_format in (("a", "qcow2"), ("b", "raw")):
            volume = {"name": "system", "capacity": MIB, "format": image_format}
            builder.node(node, volumes=[volume], boot=["hd"], **small)
        define(builder)
        self.power({"a": RUNNING, "b": RUNNING})
        for number, name in enumerate(("one", "leaf", "two", "three"), start=1):
            self.write(number)
            snapshots.create(self.environment, name)
            self.held[name] = dict(self.now)
            if name == "leaf":
                snapshots.revert(self.environment, "one", resume=True)
                self.now = dict(self.held["one"])
        self.write(9)
        for node in self.domains.values():
            node.destroy()
        self._keep()

    def _keep(self) -> None:
        shutil.copytree(self.host.pool_dir, self.directory / "pool")
        shutil.copy(self.database, self.directory / "kept.sqlite3")
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
        self._kept = [
            (domain.XMLDesc(flags), [item.xml for item in snapshots_of(domain).values()])
            for domain in self.domains.values()
        ]
        self._now, self._held = dict(self.now), dict(self.held)
        self._memories = {
            path: _digest(path)
            for domain in self.domains.values()
            for item in snapshots_of(domain).values()
            if item.memory_path
            for path in [Path(item.memory_path)]
        }

    def restore(self) -> None:
        """Bring all back to what was built, off."""
        for domain in self.domains.values():
            with suppress(libvirt.libvirtError):
                domain.destroy()
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
        connections["default"].close()
        Path(f"{self.database}-journal").unlink(missing_ok=True)
        shutil.copy(self.directory / "kept.sqlite3", self.database)
        shutil.rmtree(self.spool, ignore_errors=True)
        for path in self.host.pool_dir.iterdir():
            path.unlink()
        for path in (self.directory / "pool").iterdir():
            shutil.copy(path, self.host.pool_dir)
        self.host.connection.storagePoolLookupByName("default").refresh()
        for definition, documents in self._kept:
            domain = self.host.connection.defineXML(definition)
            for xml in documents:
                flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
                if "<name>three</name>" in xml.partition("<parent>")[0]:
                    flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_CURRENT
                domain.snapshotCreateXML(xml, flags)
        self.now, self.held = dict(self._now), dict(self._held)

    @property
    def database(self) -> Path:
        return self.directory / "devops.sqlite3"

    @property
    def spool(self) -> Path:
        return self.host.directory / "spool"

    @property
    def environment(self) -> Environment:
        return Environment.get(name="env")

    @property
    def nodes(self) -> list[Any]:
        return list(self.environment.get_nodes())

    @property
    def domains(self) -> dict[str, libvirt.virDomain]:
        return {node: self.host.connection.lookupByName(f"env_{node}") for node in ("a", "b")}

    def snapshots(self) -> dict[str, dict[str, SnapshotMetadata]]:
        return {node: snapshots_of(domain) for node, domain in self.domains.items()}

    def states(self) -> dict[str, str]:
        return {node: run_state(domain).value for node, domain in self.domains.items()}

    def power(self, states: dict[str, str]) -> None:
        for node, state in states.items():
            if state != OFF:
                self.domains[node].create()

    def pause(self, states: dict[str, str]) -> None:
        for node, state in states.items():
            if state == PAUSED:
                self.domains[node].suspend()

    def write(self, number: int) -> None:
        """Each number overwrites something of those before it; by QEMU where that is on."""
        for node, domain in self.domains.items():
            command = f"write -q -P {number} 0 {number * STEP}"
            if domain.isActive():
                device = "/machine/peripheral/virtio-disk0/virtio-backend"
                line = f'qemu-io -d {device} "{command}"'
                flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
                assert libvirt_qemu.qemuMonitorCommand(domain, line, flags) == ""
            else:
                path = disks(domain)["sda"]
                image_format = read_header(Path(path)).format
                subprocess.run(["qemu-io", "-f", image_format, "-c", command, path], check=True)
            self.now[node] = bytes([number]) * number * STEP + self.now[node][number * STEP :]

    def link(self) -> None:
        """Give every frozen layer a second name, as a spooled export does."""
        active = {Path(disks(domain)["sda"]) for domain in self.domains.values()}
        self.spool.mkdir()
        for path in self.host.pool_dir.iterdir():
            if "memory" not in path.name and path not in active:
                os.link(path, self.spool / path.name)

    # What must be so

    def read(self, path: str) -> bytes:
        raw = self.directory / "content.raw"
        command = ["qemu-img", "convert", "-U", "-f", read_header(Path(path)).format, "-O", "raw"]
        subprocess.run([*command, path, str(raw)], check=True)
        return raw.read_bytes()

    def content_now(self) -> Content:
        found = {}
        for node, domain in self.domains.items():
            runs = run_state(domain).value == RUNNING
            if runs:
                domain.suspend()
            found[node] = self.read(disks(domain)["sda"])
            if runs:
                domain.resume()
        return found

    def check_names(self, *, may_lack: set[str]) -> None:
        """All snapshots are whole, on both nodes; some may be missing, on both."""
        known = self.snapshots()
        assert set(known["a"]) == set(known["b"]), "nodes have different snapshots"
        assert known["a"].keys() - may_lack == self.held.keys() - may_lack, list(known["a"])
        for node, found in known.items():
            for name, item in found.items():
                [disk] = item.snapshotted
                self.check_content(f"{name} of {node}", self.read(str(disk.path)), name, node)
                if item.memory_path is not None:
                    path = Path(item.memory_path)
                    assert path.exists(), f"{name} of {node} has no memory"
                    assert self._memories.get(path) in (None, _digest(path)), path
                assert item.parent is None or item.parent in found, f"{name}: {item.parent}"
        currents = {current_snapshot(domain) for domain in self.domains.values()}
        assert len(currents) == 1, currents

    def check_content(self, what: str, found: bytes, name: str, node: str) -> None:
        expected = self.held[name][node]
        assert found == expected, f"{what} is not what it held: {_patterns(found)}"

    def check_agreement(self) -> None:
        memories = set()
        for node in self.nodes:
            now = disks(node.domain)
            assert now == disks(node.domain, libvirt.VIR_DOMAIN_XML_INACTIVE), node
            assert now == {disk.target_dev: disk.volume.uuid for disk in node.disk_devices}, node
            memories |= {item.memory_path for item in snapshots_of(node.domain).values()}
        volumes: list[Any] = list(LibvirtVolume.objects.select_related("backing_store"))
        known = {str(volume.uuid) for volume in volumes} | memories - {None}
        there = {str(path) for path in self.host.pool_dir.iterdir()}
        assert known == there, f"no row: {there - known}; no file: {known - there}"
        for volume in volumes:
            header, below = read_header(Path(volume.uuid)), volume.backing_store
            assert header.backing_file == (below.uuid if below else None), volume.name
        rows = EnvironmentSnapshot.objects.all()
        assert {row.name for row in rows} == set(self.snapshots()["a"])
        assert all(row.complete for row in rows)
        assert [finding for finding in compare(self.environment) if finding.differs] == []

    def check_layers(self, *, may_wait: bool) -> None:
        """No layer is there that no name needs, or it is told that it waits."""
        for node in self.nodes:
            if is_saved(node.domain):
                continue
            needed = {*disks(node.domain).values()}
            for item in snapshots_of(node.domain).values():
                needed |= {str(disk.path) for disk in item.snapshotted}
            rows = [row for row in node.get_volumes() if row.uuid not in needed]
            idle = [row.uuid for row in rows if row.volume_set.count() < 2]
            waiting = snapshots.waiting(self.environment)
            assert idle == [layer.path for layer in waiting if layer.node == node.name]
            assert may_wait or not idle, f"{idle} are still there"


def _digest(path: Path) -> bytes:
    digest: bytes = blake3(path.read_bytes()).digest()
    return digest


def told_of(content: Content) -> dict[str, list[int]]:
    return {node: _patterns(disk) for node, disk in content.items()}


def _patterns(content: bytes) -> list[int]:
    return [content[step] for step in range(0, SIZE, STEP)]
