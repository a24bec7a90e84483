"""What fails half way leaves nothing: no node snapshotted, no guest stopped, no data lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import libvirt
import pytest
from django.db import connection

from devops_snapshot import snapshot as snapshots
from devops_snapshot.errors import DevopsError
from devops_snapshot.qcow2 import read_header
from devops_snapshot.snapshot.metadata import snapshots_of
from tests.devops.libvirt.builder import Builder

from .lab import BASE, OFF, PAUSED, RUNNING, Lab

NAME = "unlucky"
Obstacle = Callable[[Lab, pytest.MonkeyPatch], AbstractContextManager[None]]


@contextmanager
def file_in_the_way(lab: Lab, _: pytest.MonkeyPatch) -> Iterator[None]:
    """Of the last overlay."""
    path = lab.host.pool_dir / f"env_off_system.{NAME}"
    pool = lab.host.connection.storagePoolLookupByName("default")
    path.touch()
    pool.refresh()
    try:
        yield
    finally:
        path.unlink()
        pool.refresh()


@contextmanager
def memory_not_writable(lab: Lab, _: pytest.MonkeyPatch) -> Iterator[None]:
    link = lab.host.pool_dir / f"snapshot-memory-env_two.{NAME}"
    link.symlink_to("/nowhere/at-all")
    yield
    assert not link.is_symlink()  # what was begun there is removed


@contextmanager
def overlay_damaged(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While the memories are saved; so the disks of ``one`` are switched, those of ``two`` not."""
    creating = import_module("devops_snapshot.snapshot.create")
    save = creating.save_memories

    def save_and_damage(*arguments: Any) -> None:
        save(*arguments)
        (lab.host.pool_dir / f"env_two_system.{NAME}").write_bytes(b"no qcow2")

    with monkeypatch.context() as patch:
        patch.setattr(creating, "save_memories", save_and_damage)
        yield


@contextmanager
def resumed_meanwhile(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """By somebody who does not know our lock, between memory and disks."""
    creating = import_module("devops_snapshot.snapshot.create")
    save = creating.save_memories

    def save_and_resume(*arguments: Any) -> None:
        save(*arguments)
        lab.domain("one").resume()

    with monkeypatch.context() as patch:
        patch.setattr(creating, "save_memories", save_and_resume)
        yield


@contextmanager
def metadata_not_writable(lab: Lab, _: pytest.MonkeyPatch) -> Iterator[None]:
    """A directory stands where libvirt keeps its note of the last node's snapshot."""
    path = lab.host.directory / f"lib/qemu/snapshot/env_off/{NAME}.xml"
    path.mkdir()
    try:
        yield
    finally:
        path.rmdir()


@contextmanager
def database_refuses(lab: Lab, _: pytest.MonkeyPatch) -> Iterator[None]:
    with trigger("UPDATE ON devops_snapshot_nodesnapshot"):
        yield


@contextmanager
def trigger(event: str) -> Iterator[None]:
    """Inside, the database refuses something."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TRIGGER refusal BEFORE {event} BEGIN SELECT RAISE(ABORT, 'not today'); END"
        )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER refusal")


@pytest.mark.parametrize(
    ("obstacle", "message"),
    [
        (file_in_the_way, "env_off_system.unlucky. is already there"),
        (memory_not_writable, "saving the memory of env_two failed"),
        (resumed_meanwhile, "somebody else has started or stopped env_one"),
        (overlay_damaged, "switching the disks of env_two to their overlays failed"),
        (metadata_not_writable, "recording a snapshot of env_off failed"),
        (database_refuses, "not today"),
    ],
)
def test_a_snapshot_that_fails_is_undone_on_all_nodes(
    lab: Lab, obstacle: Obstacle, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.write("before")
    lab.domain("two").suspend()
    with obstacle(lab, monkeypatch), pytest.raises(DevopsError, match=message):
        lab.take(NAME)
    assert lab.states() == [RUNNING, PAUSED, OFF]
    assert lab.names() == [BASE]
    assert lab.currents() == {BASE}
    lab.check()
    lab.domain("two").resume()
    held = lab.seen()
    assert [held.one.count("before"), held.two.count("before")] == [3, 3]  # memory and two disks


def test_an_overlay_that_a_guest_stands_on_is_never_removed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even the way back is barred, the database follows libvirt, and the rest is merged."""

    def barred(*_: Any) -> None:
        raise DevopsError("no")

    monkeypatch.setattr("devops_snapshot.snapshot.switch.commit_active", barred)
    with database_refuses(lab, monkeypatch), pytest.raises(DevopsError, match="not today"):
        lab.take(NAME)
    assert lab.states() == [RUNNING, RUNNING, OFF]
    assert lab.names() == [BASE]
    lab.check()
    lab.write("on the overlay")
    held = lab.seen()
    lab.take("lucky")
    lab.revert("lucky")
    assert lab.seen() == held


def test_an_internal_snapshot_that_fails_is_undone(shelf: Builder) -> None:
    """``b`` has a raw disk, which cannot hold one; ``a`` was snapshotted before it."""
    with pytest.raises(DevopsError, match="env_b"):
        snapshots.create(shelf.environment, NAME, external=False)
    assert snapshots.list_snapshots(shelf.environment) == []
    image = shelf.host.pool_dir / "env_a_system"
    assert read_header(image).internal_snapshots == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_snapshot_is_undone(lab: Lab, number: signal.Signals) -> None:
    lab.write("before")
    held = lab.seen()
    command = ["python", "-m", "devops_snapshot", "snapshot", "env", NAME]
    with lab.host.popen(command, env=lab.variables) as process:
        deadline = time.monotonic() + 30
        while lab.domain("one").state()[0] == RUNNING and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert lab.states() == [RUNNING, RUNNING, OFF]
    assert lab.names() == [BASE]
    lab.check()
    assert lab.seen() == held


def test_an_interrupt_at_the_worst_moment(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """An overlay was just made, and nobody has noted yet that it would have to go."""
    planning = import_module("devops_snapshot.snapshot.plan")
    make_overlay = planning.make_overlay

    def make_and_interrupt(**arguments: Any) -> Any:
        made = make_overlay(**arguments)
        os.kill(os.getpid(), signal.SIGINT)
        return made

    monkeypatch.setattr(planning, "make_overlay", make_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        lab.take(NAME)
    assert lab.states() == [RUNNING, RUNNING, OFF]
    assert lab.names() == [BASE]
    lab.check()


@contextmanager
def damaged(path: Path, *, offset: int) -> Iterator[None]:
    """Inside, a file is cut off there; before, zeros are what can be read."""
    content = path.read_bytes()
    path.write_bytes(content[:offset] if offset else bytes(4096) + content[4096:])
    try:
        yield
    finally:
        path.write_bytes(content)


def test_damage_that_shows_early_is_found_before_anything_is_done(lab: Lab) -> None:
    lab.write("now")
    held = lab.seen()
    memory = lab.memories(BASE)[1]
    with damaged(memory, offset=0), pytest.raises(DevopsError, match=memory.name):
        lab.revert(BASE)
    image = lab.host.pool_dir / "env_default_base"
    image.rename(image.with_suffix(".gone"))
    with pytest.raises(DevopsError, match="env_default_base, which is not there"):
        lab.revert(BASE)
    image.with_suffix(".gone").rename(image)
    assert lab.states() == [RUNNING, RUNNING, OFF]
    lab.check()
    assert lab.seen() == held


@contextmanager
def memory_cut(lab: Lab) -> Iterator[None]:
    memory = lab.memories(BASE)[1]
    with damaged(memory, offset=memory.stat().st_size // 2):
        yield


@contextmanager
def rows_not_writable(lab: Lab) -> Iterator[None]:
    with trigger("UPDATE ON devops_diskdevice"):
        yield


@pytest.mark.parametrize("obstacle", [memory_cut, rows_not_writable])
def test_a_revert_that_fails_leaves_the_nodes_off_and_everything_in_step(
    lab: Lab, obstacle: Callable[[Lab], AbstractContextManager[None]]
) -> None:
    lab.write("later")
    later = lab.seen()
    lab.take("later")
    before = {name: documents(lab, name) for name in lab.nodes}
    with ExitStack() as inside:
        inside.enter_context(obstacle(lab))
        with pytest.raises(DevopsError) as caught:
            lab.revert(BASE)
    assert "The nodes of 'env' are off now" in str(caught.value)
    assert lab.states() == [OFF, OFF, OFF]
    assert lab.currents() == {"later"}
    assert {name: documents(lab, name) for name in lab.nodes} == before
    lab.check()
    lab.revert("later")
    assert lab.seen() == later


def documents(lab: Lab, name: str) -> dict[str, Any]:
    """What libvirt keeps of a node: its definition, and on which files its snapshots stand."""
    domain = lab.domain(name)
    found: dict[str, Any] = {
        snapshot.name: (snapshot.parent, snapshot.overlays, snapshot.frozen)
        for snapshot in snapshots_of(domain).values()
    }
    return found | {"": domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)}
