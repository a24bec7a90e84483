"""Guests with QEMU's real guest agent and a mounted ext4: what is in a copy of their disk."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import libvirt
import pytest

from devops_snapshot.devops.libvirt.guest_agent import read_clock, set_clock
from devops_snapshot.hypervisor import RunState, run_state
from devops_snapshot.snapshot import quiesce
from devops_snapshot.snapshot.freeze import frozen
from devops_snapshot.snapshot.quiesce import quiesced
from tests.bed import Bed, Guest, Host, domain_xml
from tests.bed.guest_image import PLAIN, WITH_AGENT, Recipe, guest_iso

CHANNEL = """
    <channel type='unix'><source mode='bind'/>
      <target type='virtio' name='org.qemu.guest_agent.0'/>
    </channel>
"""
# The kernel must not write back by itself while a test looks.
MOUNT = """
echo 0 > /proc/sys/vm/dirty_writeback_centisecs
mount -t ext4 -o commit=300 /dev/vda /mnt
"""

PROBE = "rm -f /run/probed; { touch /mnt/probe && sync && echo done >/run/probed; } 2>/dev/null &"
PROBED = "for _ in $(seq 20); do cat /run/probed 2>/dev/null && break; sleep 0.05; done"
LATE = 2  # seconds
HOOK = f"""\
#!/bin/sh
[ "$1" != freeze ] || sleep {LATE}
"""


@pytest.fixture(scope="module")
def booted(bed: Bed) -> Iterator[Guest]:
    """A guest with an agent and a file system of 16 MiB at /mnt."""
    host = bed.host("beta")
    define(host, "guest", recipe=WITH_AGENT, channel=True, disks=[make_disk(host)]).create()
    guest = host.guest("guest")
    guest.wait_boot()
    guest.run(MOUNT)
    wait_for_agent(guest)
    yield guest
    host.clean()


@pytest.fixture
def guest(booted: Guest) -> Iterator[Guest]:
    """The guest; afterwards it must run, with its agent, and be able to write."""
    yield booted
    assert run_state(booted.domain) is RunState.RUNNING
    wait_for_agent(booted)
    assert can_write(booted)


def define(
    host: Host, name: str, *, recipe: Recipe, channel: bool, disks: list[Path]
) -> libvirt.virDomain:
    xml = domain_xml(name, iso=guest_iso(recipe), disks=disks)
    if channel:
        xml = xml.replace("<serial type='pty'>", CHANNEL + "<serial type='pty'>")
    return host.connection.defineXML(xml)


def make_disk(host: Host) -> Path:
    raw, disk = host.pool_dir / "disk.raw", host.pool_dir / "disk.qcow2"
    subprocess.run(["mkfs.ext4", "-q", str(raw), "16M"], check=True)
    convert(raw, disk, to="qcow2")
    raw.unlink()
    return disk


def convert(source: Path, target: Path, *, to: str) -> None:
    command = ["qemu-img", "convert", "-O", to, str(source), str(target)]
    subprocess.run(command, check=True)


def wait_for_agent(guest: Guest) -> None:
    deadline = time.monotonic() + 30
    while "state='connected'" not in guest.domain.XMLDesc():
        assert time.monotonic() < deadline, guest.run("cat /run/agent.log", check=False)
        time.sleep(0.05)


def can_write(guest: Guest) -> bool:
    """Whether a file can be made within a moment; else it is made as soon as it can be."""
    guest.run(PROBE)
    return guest.run(PROBED, check=False) == "done"


def copy_of_disk(guest: Guest, directory: Path) -> Path:
    """What is on the disk now, as a raw image; the guest stands still for that, as in a snapshot.

    QEMU writes out its own caches when it is suspended, the guest does not know of it.
    """
    qcow2, raw = directory / "copy.qcow2", directory / "copy.raw"
    with frozen([guest.domain]):
        shutil.copy(guest.host.pool_dir / "disk.qcow2", qcow2)
    convert(qcow2, raw, to="raw")
    return raw


def note_on(image: Path) -> str:
    command = ["debugfs", "-R", "cat /note", str(image)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def is_clean(image: Path) -> bool:
    """Whether it was unmounted or frozen: nothing to repair or to replay from its journal."""
    check = subprocess.run(["e2fsck", "-fn", str(image)], capture_output=True, text=True)
    header = subprocess.run(["dumpe2fs", "-h", str(image)], capture_output=True, text=True)
    return check.returncode == 0 and "needs_recovery" not in header.stdout


def test_what_the_guest_has_cached_is_on_the_disk(guest: Guest, tmp_path: Path) -> None:
    guest.run("echo cached > /mnt/note")
    image = copy_of_disk(guest, tmp_path)
    assert not is_clean(image)
    assert note_on(image) == ""
    with quiesced([guest.domain]) as names:
        assert names == {"guest"}
        image = copy_of_disk(guest, tmp_path)
    assert is_clean(image)
    assert note_on(image) == "cached"


def test_writes_wait_inside_and_go_on_afterwards(guest: Guest) -> None:
    with quiesced([guest.domain]):
        assert not can_write(guest)
    assert can_write(guest)


def test_an_error_inside(guest: Guest) -> None:
    with pytest.raises(ZeroDivisionError), quiesced([guest.domain]):
        raise ZeroDivisionError
    assert can_write(guest)


def test_a_guest_left_paused(guest: Guest) -> None:
    """It is thawed and paused again."""
    with quiesced([guest.domain]):
        guest.domain.suspend()
    assert run_state(guest.domain) is RunState.PAUSED
    guest.domain.resume()
    assert can_write(guest)


def test_a_guest_stopped_inside(guest: Guest, caplog: pytest.LogCaptureFixture) -> None:
    """There is nothing to thaw. Its agent did not see the end of it, so this one is another."""
    domain = define(guest.host, "short", recipe=WITH_AGENT, channel=True, disks=[])
    domain.create()
    wait_for_agent(guest.host.guest("short"))
    with quiesced([domain]) as names:
        assert names == {"short"}
        domain.destroy()
    assert caplog.text == ""


@pytest.mark.parametrize("signal", ["KILL", "STOP"])
def test_an_agent_that_does_not_answer(
    guest: Guest, signal: str, caplog: pytest.LogCaptureFixture
) -> None:
    guest.run(f"killall -{signal} qemu-ga")
    if signal == "KILL":
        wait_for_end(guest)
    began = time.monotonic()
    try:
        with quiesced([guest.domain]) as names:
            assert names == frozenset()
            assert can_write(guest)
        assert time.monotonic() - began < 15
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "going on without freezing" in caplog.text
    finally:
        guest.run("killall -CONT qemu-ga || { agent >/dev/null 2>&1 & }")


def test_an_agent_that_answers_too_late(
    guest: Guest, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told to thaw when it has frozen at last."""
    monkeypatch.setattr(quiesce, "_FREEZE_SECONDS", 1)
    guest.write_file("/run/hook", HOOK)
    guest.run("chmod +x /run/hook")
    restart_agent(guest, options="-F/run/hook")
    with quiesced([guest.domain]) as names:
        assert names == frozenset()
        guest.run(f"sleep {LATE}")
        assert can_write(guest)
    assert len(caplog.records) == 1
    restart_agent(guest)


def restart_agent(guest: Guest, *, options: str = "") -> None:
    guest.run("killall qemu-ga")
    wait_for_end(guest)
    guest.run(f"agent {options} >/dev/null 2>&1 &")
    wait_for_agent(guest)


def wait_for_end(guest: Guest) -> None:
    """Return when libvirt knows that the agent has gone."""
    deadline = time.monotonic() + 10
    while "state='disconnected'" not in guest.domain.XMLDesc():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_agent_that_dies_inside(guest: Guest, caplog: pytest.LogCaptureFixture) -> None:
    """What the warning says to do helps."""
    with quiesced([guest.domain]):
        guest.run("killall -KILL qemu-ga")
        wait_for_end(guest)
    assert "repeat 'virsh domfsthaw guest'" in caplog.text
    assert not can_write(guest)
    guest.run("agent >/dev/null 2>&1 &")
    wait_for_agent(guest)
    guest.host.run(["virsh", "domfsthaw", "guest"])


def test_what_others_have_frozen(guest: Guest, caplog: pytest.LogCaptureFixture) -> None:
    """It is not ours to thaw."""
    guest.domain.fsFreeze()
    try:
        with quiesced([guest.domain]) as names:
            assert names == frozenset()
        assert "going on without freezing" in caplog.text
        assert not can_write(guest)
    finally:
        guest.domain.fsThaw()


def test_guests_that_have_none(guest: Guest, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said of guests that are off, paused, or have no channel."""
    host = guest.host
    off = define(host, "off", recipe=PLAIN, channel=True, disks=[])
    without = define(host, "without", recipe=PLAIN, channel=False, disks=[])
    paused = define(host, "paused", recipe=PLAIN, channel=True, disks=[])
    without.create()
    paused.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    with quiesced([off, without, paused, guest.domain]) as names:
        assert names == {"guest"}
    assert caplog.text == ""
    for domain in (without, paused):
        domain.destroy()


def test_the_clock_of_a_guest_with_an_agent(guest: Guest) -> None:
    """It is set without any network; ``hwclock``, which the agent calls, may fail in the guest."""
    guest.run("date -s @1000000000")
    before = read_clock(guest.domain)
    assert before is not None
    assert before == pytest.approx(1000000000, abs=10)
    assert set_clock(guest.domain) == pytest.approx(time.time(), abs=3)
    assert int(guest.run("date +%s")) == pytest.approx(time.time(), abs=3)


def test_no_agent_tells_no_time(guest: Guest) -> None:
    guest.run("killall -STOP qemu-ga")
    try:
        assert read_clock(guest.domain) is None
    finally:
        guest.run("killall -CONT qemu-ga")
