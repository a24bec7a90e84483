"""A full disk, a libvirtd that is restarted: one clear error, the environment as before."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from devops_snapshot import snapshot as snapshots
from devops_snapshot.errors import DevopsError, NotFoundError
from devops_snapshot.models import EnvironmentSnapshot
from devops_snapshot.snapshot.sync import compare
from tests.bed import Bed, Host
from tests.devops.databases import sqlite_environment, used_database
from tests.devops.libvirt.builder import MIB, Builder

from .lab import PAUSED, RUNNING, define, disks

SMALL = {"memory": 64, "has_vnc": False}


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


@pytest.fixture
def running(host: Host, database: dict[str, str]) -> Builder:
    """``a`` and ``b`` run, without an operating system; ``c`` is paused."""
    builder = Builder(host)
    for name in "abc":
        builder.node(name, volumes=[{"name": "system", "capacity": MIB}], **SMALL)
    define(builder)
    for node in builder.environment.get_nodes():
        node.start()
    builder.environment.get_node(name="c").suspend()
    return builder


def states(builder: Builder) -> list[int]:
    return [node.domain.state()[0] for node in builder.environment.get_nodes()]


@pytest.mark.parametrize("step", ["make_overlays", "save_memories", "switch_disks"])
def test_libvirtd_is_restarted(
    running: Builder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    files = set(running.host.pool_dir.iterdir())
    creating = import_module("devops_snapshot.snapshot.create")
    real, restarted = getattr(creating, step), []

    def and_restart(*arguments: Any) -> Any:
        result = real(*arguments)
        if not restarted:
            restarted.append(step)
            running.host.restart_libvirtd()
        return result

    monkeypatch.setattr(creating, step, and_restart)
    with pytest.raises(DevopsError):
        snapshots.create(running.environment, "one")
    assert states(running) == [RUNNING, RUNNING, PAUSED]
    assert snapshots.list_snapshots(running.environment) == []
    assert not EnvironmentSnapshot.objects.exists()
    if step != "switch_disks":  # a guest that is saved has to go on before its layers move
        assert set(running.host.pool_dir.iterdir()) == files
    assert compare(running.environment) == []
    snapshots.create(running.environment, "two")
    snapshots.revert(running.environment, "two", resume=True)
    assert states(running) == [RUNNING, RUNNING, RUNNING]


def test_a_full_disk(host: Host, database: dict[str, str]) -> None:
    host.run(["mount", "-t", "tmpfs", "-o", "size=12M", "tmpfs", str(host.pool_dir)])
    try:
        builder = Builder(host)
        for name in "ab":
            builder.node(name, volumes=[{"name": "system", "capacity": MIB}], **SMALL)
        define(builder)
        for node in builder.environment.get_nodes():
            node.start()
        host.dos("snapshot", "env", "first", "--disk-only", env=database)
        host.run(["sh", "-c", f"head -c 11M /dev/zero > {host.pool_dir}/full; true"])
        before = host.run(["ls", str(host.pool_dir)]).stdout
        stand_on = [disks(node.domain) for node in builder.environment.get_nodes()]
        failed = host.dos("snapshot", "env", "second", env=database, check=False)
        assert failed.returncode == 1
        assert failed.stderr.startswith("Error: ")
        assert failed.stderr.count("\n") == 1
        assert host.run(["ls", str(host.pool_dir)]).stdout == before
        assert [disks(node.domain) for node in builder.environment.get_nodes()] == stand_on
        assert states(builder) == [RUNNING, RUNNING]
        assert host.dos("sync", "env", env=database).returncode == 0
    finally:
        host.clean()
        host.run(["umount", "-l", str(host.pool_dir)])


def test_a_medium_that_is_gone_is_seen_before_anything_is_stopped(
    host: Host, database: dict[str, str], tmp_path: Path
) -> None:
    builder = Builder(host)
    medium = {"name": "iso", "capacity": MIB, "format": "raw", "device": "cdrom", "bus": "ide"}
    builder.node("a", volumes=[{"name": "system", "capacity": MIB}, medium], **SMALL)
    define(builder)
    builder.environment.get_node(name="a").start()
    snapshots.create(builder.environment, "first")
    (host.pool_dir / "env_a_iso").unlink()
    with pytest.raises(NotFoundError, match=r"needs .*env_a_iso, which is not there"):
        snapshots.revert(builder.environment, "first")
    assert states(builder) == [RUNNING]


def test_nodes_that_were_never_defined_hinder_nobody(shelf: Builder) -> None:
    shelf.node("never")
    snapshots.create(shelf.environment, "first", nodes=["a"])
    with pytest.raises(NotFoundError, match="'never' has never been defined"):
        snapshots.create(shelf.environment, "all")
    assert [item.nodes for item in snapshots.list_snapshots(shelf.environment)] == [("a",)]
    assert compare(shelf.environment) == []
    snapshots.revert(shelf.environment, "first")
    snapshots.delete(shelf.environment, "first")
    assert snapshots.waiting(shelf.environment) == []
