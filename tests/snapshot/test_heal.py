"""What libvirt 9.0 does to snapshots when another one's metadata is deleted, and its undoing."""

from __future__ import annotations

from pathlib import Path

import pytest

from devops_snapshot import snapshot as snapshots
from devops_snapshot.snapshot.heal import heal
from devops_snapshot.snapshot.metadata import snapshots_of
from tests.devops.libvirt.builder import Builder

from .test_sync import Shelf


@pytest.fixture
def shelved(shelf: Builder) -> Shelf:
    return Shelf(shelf)


def layers(shelved: Shelf) -> dict[str, str]:
    """What each snapshot of ``a`` stands on, as libvirt says."""
    known = snapshots_of(shelved.node().domain)
    return {name: Path(str(known[name].frozen[0].path)).name for name in known}


def test_libvirt_lets_a_child_stand_on_what_its_parent_stood_on(shelved: Shelf) -> None:
    """The fact: without this, the module would not be needed."""
    before = layers(shelved)
    shelved.forget_in_libvirt("second")
    assert layers(shelved) == {"first": before["first"], "third": before["second"]}


def test_libvirt_is_told_again(shelved: Shelf) -> None:
    before = layers(shelved)
    shelved.forget_in_libvirt("second")
    healed = heal(shelved.environment)
    assert len(healed) == 2
    assert healed[0].startswith("libvirt says that sda of snapshot 'third' stands on /")
    del before["second"]
    assert layers(shelved) == before
    assert heal(shelved.environment) == []
    snapshots.revert(shelved.environment, "third")
    assert shelved.holds(3)


def test_what_cannot_be_told_again_is_left(shelved: Shelf) -> None:
    """What was recorded is of no use without its layer."""
    layer = snapshots_of(shelved.node().domain)["third"].frozen[0].path
    shelved.forget_in_libvirt("second", "a")
    distorted = layers(shelved)
    Path(str(layer)).unlink()
    assert heal(shelved.environment) == []
    assert layers(shelved) == distorted
    assert shelved.kinds() == ["snapshot-forgotten", "snapshot-distorted", "file-missing"]
