"""Disks over several paths: libvirt puts no overlay on them, so they are copied.

What their guests write is written by QEMU, or into the file while they are off.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
import pytest

from devops_snapshot import snapshot as snapshots
from devops_snapshot.devops.libvirt.models import LibvirtNode, LibvirtVolume
from devops_snapshot.devops.models import Environment, Volume
from devops_snapshot.errors import ConflictError, DevopsError
from devops_snapshot.models import EnvironmentSnapshot
from devops_snapshot.snapshot.metadata import snapshots_of
from devops_snapshot.snapshot.sync import compare
from tests.bed import Bed, Host
from tests.devops.databases import sqlite_environment, used_database
from tests.devops.libvirt.builder import MIB, Builder

from .killer import Dos, Moment
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
    def build(cls, host: Host, **driver: Any) -> Paths:
        """Switched off."""
        builder = Builder(host, **driver)
        builder.node("a", volumes=[SYSTEM, SHARED], **SMALL)
        define(builder)
        return cls(host)

    @classmethod
    def build_common(cls, host: Host) -> Paths:
        """Nodes ``a`` and ``b`` have one disk in common, each over two paths; both run."""
        builder = Builder(host)
        volume = builder.group.add_volume(**SHARED)
        for name in "ab":
            builder.node(name, volumes=[SYSTEM], **SMALL).attach_volume(volume)
        define(builder)
        for node in builder.environment.get_nodes():
            node.start()
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

    def write(self, number: int, *, path: int = 0, node: str = "a") -> None:
        """Where QEMU is on, it does so, over one of the paths."""
        domain = LibvirtNode.objects.get(name=node).domain
        if domain.isActive():
            device = open_devices(domain, self.file)[path]
            flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            line = f'qemu-io -d {device} "write -q -P {number} {HERE} 64k"'
            assert libvirt_qemu.qemuMonitorCommand(domain, line, flags) == ""
        else:
            with self.file.open("r+b") as file:
                file.seek(HERE)
                file.write(bytes([number]) * (64 << 10))

    def holds(self, number: int) -> bool:
        """Whether that was written last; and QEMU, where it is on, has it open over both paths."""
        for node in self.environment.get_nodes():
            assert not node.domain.isActive() or len(open_devices(node.domain, self.file)) == 2
        return self.file.read_bytes() == content(number)

    def copy(self, name: str) -> Path:
        """The one that a snapshot names, over both paths."""
        [snapshot] = [item for item in snapshots_of(self.domain).values() if item.name == name]
        [path] = {str(disk.path) for disk in snapshot.copied}
        return Path(path)

    def check(self, *names: str) -> None:
        """Database, libvirt and files tell the same, and nothing is left over."""
        memories: set[str | None] = set()
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


def test_nodes_with_a_disk_in_common_go_together(host: Host, database: dict[str, str]) -> None:
    paths = Paths.build_common(host)
    paths.write(1, node="a")
    snapshots.create(paths.environment, "one")
    paths.write(2, node="b")
    paths.check("one")
    with pytest.raises(ConflictError, match=r"node 'b' has a disk in common with the others"):
        snapshots.create(paths.environment, "two", nodes=["a"])
    snapshots.revert(paths.environment, "one", resume=True)
    assert paths.holds(1)
    paths.write(3, node="b")
    assert paths.holds(3)
    paths.check("one")
    snapshots.revert(paths.environment, "one", resume=True)
    assert paths.holds(1)
    snapshots.delete(paths.environment, "one")
    paths.check()


def test_a_node_that_came_later_is_not_torn_off(host: Host, database: dict[str, str]) -> None:
    paths = Paths.build(host)
    snapshots.create(paths.environment, "one")
    paths.write(1)
    node = paths.node.group.add_node(name="b", volumes=[], hypervisor="qemu", **SMALL)
    node.attach_volume(paths.volume)
    node.define()
    with pytest.raises(ConflictError, match=r"node 'b' has a disk in common"):
        snapshots.revert(paths.environment, "one")
    assert paths.holds(1)
    snapshots.create(paths.environment, "two")
    paths.write(2)
    snapshots.revert(paths.environment, "two")
    assert paths.holds(1)


@pytest.mark.parametrize("step", ["copy_shared", "switch_disks", "_tell_libvirt", "_record"])
def test_what_fails_leaves_no_copy(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """``copy_shared`` is interrupted (Ctrl-C) while it copies; ``_record`` is the last thing."""
    creating = import_module("devops_snapshot.snapshot.create")
    real = getattr(creating, step)

    def unlucky(*arguments: Any) -> Any:
        if step == "copy_shared":
            os.kill(os.getpid(), signal.SIGINT)
        if step != "_record":
            real(*arguments)
        raise DevopsError("no luck")

    paths.domain.create()
    paths.write(1)
    monkeypatch.setattr(creating, step, unlucky)
    with pytest.raises(KeyboardInterrupt if step == "copy_shared" else DevopsError):
        snapshots.create(paths.environment, "one")
    assert paths.domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    paths.check()
    assert paths.holds(1)


@pytest.mark.parametrize("step", ["_restore", "define", "redefine", "unblock"])
def test_a_revert_that_fails_leaves_the_disk(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    reverting = import_module("devops_snapshot.snapshot.revert")
    real = getattr(reverting, step)
    failed: list[str] = []

    def unlucky(*arguments: Any, **keywords: Any) -> Any:
        done = real(*arguments, **keywords)
        if not failed:
            failed.append(step)
            raise DevopsError("no luck")
        return done

    paths.domain.create()
    paths.write(1)
    snapshots.create(paths.environment, "one")
    paths.write(2)
    monkeypatch.setattr(reverting, step, unlucky)
    with pytest.raises(DevopsError, match="no luck"):
        snapshots.revert(paths.environment, "one")
    assert not paths.domain.isActive()
    paths.check("one")
    assert paths.holds(2)
    snapshots.revert(paths.environment, "one", resume=True)
    assert paths.holds(1)


KILLED = [
    (("snapshot", "env", "two"), Moment(at=2, of="createXMLFrom", during=True)),
    (("snapshot", "env", "two"), Moment(at=2, of="createXMLFrom")),
    (("snapshot", "env", "two"), Moment(at=3, of="snapshotCreateXML")),
    (("revert", "env", "one"), Moment(at=2, of="createXMLFrom")),
    (("revert", "env", "one"), Moment(at=1, of="restoreFlags")),
    (("revert", "env", "one"), Moment(at=1, of="defineXML")),
    (("revert", "env", "one"), Moment(at=1, of="virStorageVol.delete")),
    (("snapshot-delete", "env", "one"), Moment(at=1, of="delete")),
]


@pytest.mark.parametrize(("argv", "moment"), KILLED)
def test_killed(
    paths: Paths, database: dict[str, str], argv: tuple[str, ...], moment: Moment
) -> None:
    paths.domain.create()
    paths.write(1)
    snapshots.create(paths.environment, "one")
    paths.write(2)
    dos = Dos(paths.host, database)
    try:
        ended = dos(*argv, moment=moment)
        assert ended.killed, ended.said
        ended = dos("sync", "env", "--repair")
        if argv[0] == "revert":
            ended = dos("revert-resume", "env", "one")
        assert ended.code == 0, ended.said
    finally:
        dos.close()
    names = set(snapshots_of(paths.domain))
    assert paths.holds(1 if argv[0] == "revert" else 2)
    paths.check(*names)
    if argv[0] != "snapshot-delete":
        assert "one" in names
        snapshots.revert(paths.environment, "one", resume=True)
        assert paths.holds(1)


def test_a_revert_lets_traffic_pass_again(host: Host, database: dict[str, str]) -> None:
    builder = Builder(host, enable_nwfilters=True)
    network = builder.network("private")
    interface = {"label": "eth0", "l2_network_device": "private"}
    builder.node("a", volumes=[SYSTEM], interfaces=[interface], **SMALL)
    network.define()
    define(builder)
    snapshots.create(builder.environment, "one")
    [card] = builder.environment.get_node(name="a").interface_set.all()
    network.block()
    card.block()
    snapshots.revert(builder.environment, "one")
    assert not network.is_blocked
    assert not card.is_blocked


@pytest.mark.parametrize("build", [Paths.build, Paths.build_common])
def test_two_hosts(
    bed: Bed, host: Host, tmp_path: Path, build: Any, database: dict[str, str]
) -> None:
    """``host`` is where it comes to."""
    alpha, storage = bed.host("gamma"), f"file://{tmp_path}/repository"
    try:
        at_home = sqlite_environment(tmp_path / "alpha.sqlite3")
        with used_database(at_home):
            there = build(alpha)
            there.write(1)
            snapshots.create(there.environment, "one")
            there.write(2)
            snapshots.create(there.environment, "two")
            there.write(3)
            export = ("export-env", "env", "--storage", storage, "--all-snapshots")
            alpha.dos(*export, env=at_home)
            assert there.holds(3)
            there.check("one", "two")
        manifest = shown(alpha, storage, at_home)
        for options, number in (((), 2), (("--snapshot", "one"), 1)):
            imported = host.dos(
                "import-env", "latest", "--storage", storage, *options, env=database, check=False
            )
            assert imported.returncode == 0, imported.stderr
            here = Paths(host)
            names = ["one"] if options else ["one", "two"]
            here.check(*names)
            assert here.holds(number)
            here.write(4)
            snapshots.revert(here.environment, "one", resume=True)
            assert here.holds(1)
            here.check(*names)
            if not options:
                host.dos("export-env", "env", "--storage", storage, "--all-snapshots", env=database)
                assert shown(host, storage, database) == manifest
            host.dos("erase", "env", env=database)
            assert list(host.pool_dir.iterdir()) == []
    finally:
        alpha.clean()


def shown(host: Host, storage: str, env: dict[str, str]) -> list[Any]:
    """What must be the same in another export: volumes by name, and which disk has which."""
    told = host.dos("show-export", "latest", "--storage", storage, "--json", env=env).stdout
    found = []
    for group in json.loads(told)["manifest"]["environment"]["groups"]:
        for owner in (group, *group["nodes"]):
            names = {volume["id"]: volume["name"] for volume in group["volumes"]}
            names |= {v["id"]: v["name"] for node in group["nodes"] for v in node["volumes"]}
            marks = [(v["name"], v["params"].get("copy_of")) for v in owner["volumes"]]
            disks = [names[disk["volume"]] for disk in owner.get("disks", ())]
            found += [sorted(marks, key=str), disks]
    return found
