"""Guests that stand still when they are snapshotted.

QEMU saves a guest's memory only once until it has run again, so two snapshots then share a file;
which is right only as long as it is the file that was written when the guest stood still.
"""

from __future__ import annotations

from pathlib import Path

import libvirt
import pytest

from devops_snapshot.hypervisor import is_postmigrate
from devops_snapshot.snapshot.overlays import make_overlay

from .lab import BASE, OFF, PAUSED, Lab, Seen

GUESTS = ("one", "two")


def take_suspended(lab: Lab, name: str, text: str) -> Seen:
    """Returns what it holds."""
    lab.write(text)
    held = lab.seen()
    lab.take(name, resume=False)
    assert lab.states() == [PAUSED, PAUSED, OFF]
    return held


@pytest.mark.parametrize("deleted", ["earlier", "later"])
def test_memory_that_two_snapshots_share_goes_with_the_last_of_them(lab: Lab, deleted: str) -> None:
    held = take_suspended(lab, "earlier", "suspended")
    lab.take("later")
    assert lab.memories("later") == lab.memories("earlier") != lab.memories(BASE)
    lab.delete(deleted)
    [kept] = {"earlier", "later"} - {deleted}
    lab.check()
    lab.revert(kept)
    assert lab.seen() == held
    lab.check()
    memories = lab.memories(kept)
    lab.delete(kept)
    assert not any(path.exists() for path in memories)


def test_memory_of_another_moment_is_never_taken(lab: Lab) -> None:
    """The snapshot whose memory it was is gone, and ``base`` is the current one."""
    held = take_suspended(lab, "gone", "suspended")
    lab.delete("gone")
    assert lab.currents() == {BASE}
    assert is_postmigrate(lab.domain("one"))
    lab.take("kept")
    assert lab.states() == [PAUSED, PAUSED, OFF]
    assert not set(lab.memories("kept")) & set(lab.memories(BASE))
    lab.check()
    lab.revert("kept")
    assert lab.seen() == held


def test_one_guest_is_paused_and_one_runs(lab: Lab) -> None:
    lab.write("mixed")
    held = lab.seen()
    lab.domain("one").suspend()
    result = lab.take("mixed")
    assert set(result.freeze_seconds) == {"two"}
    assert {node: state.value for node, state in result.states.items()} == {
        "one": "paused",
        "two": "running",
        "off": "shutoff",
    }
    assert lab.states()[0] == PAUSED
    lab.revert("mixed", resume=False)
    assert lab.states() == [PAUSED, PAUSED, OFF]
    for name in GUESTS:
        lab.domain(name).resume()
    assert lab.seen() == held


def test_a_snapshot_of_fuel_devops_lends_its_memory(lab: Lab) -> None:
    """It saves memory and disks node after node, and leaves the guests suspended."""
    lab.write("deployed")
    held = lab.seen()
    files = [lab.host.directory / f"snapshot-memory-env_{name}.deployed" for name in lab.nodes]
    for (name, node), file in zip(lab.nodes.items(), files, strict=True):
        _take_as_fuel_devops(lab, name, file if name in GUESTS else None)
        for overlay in node.get_volumes(name__endswith=".deployed"):
            assert overlay.exists()
    lab.take("ours")
    assert lab.memories("ours") == lab.memories("deployed") == files[:2]
    lab.delete("deployed")
    assert files[0].exists()
    lab.revert("ours")
    assert lab.seen() == held
    lab.delete("ours")
    assert not files[0].exists()


def _take_as_fuel_devops(lab: Lab, name: str, memory: Path | None) -> None:
    node, domain = lab.node(name), lab.domain(name)
    disks = []
    for device in node.disk_devices:
        if device.device == "disk" and device.bus != "usb":
            overlay = make_overlay(
                node=node, device=device, frozen=device.volume, suffix="deployed"
            )
            overlay.attach()
            disks.append(
                f"<disk name='{overlay.target}' snapshot='external'>"
                f"<source file='{overlay.path}'/></disk>"
            )
        else:
            disks.append(f"<disk name='{device.target_dev}' snapshot='no'/>")
    flags = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
    if memory is None:
        flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
        state = ""
    else:
        domain.suspend()
        state = f"<memory snapshot='external' file='{memory}'/>"
    domain.snapshotCreateXML(
        f"<domainsnapshot><name>deployed</name>{state}<disks>{''.join(disks)}</disks>"
        "</domainsnapshot>",
        flags,
    )
