"""A test failed: its export is detached, its host is free at once, and later all is on another."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from tests.bed import Bed
from tests.journey.scenario import NAME, NODES, Place

FAST = 1 << 40  # bytes a second
MIB = 1 << 20


@pytest.fixture
def alpha(bed: Bed) -> Iterator[Place]:
    yield Place(bed.host("alpha"))
    bed.clean()


@pytest.fixture
def beta(bed: Bed) -> Place:
    return Place(bed.host("beta"))


def spool_of(place: Place) -> Path:
    return place.host.pool_dir.parent / ".devops_snapshot" / "spool"


def status(place: Place) -> list[dict[str, object]]:
    return json.loads(place.dos("export-status", "--json"))


def test_the_environment_is_erased_before_anything_is_sent(
    alpha: Place, beta: Place, tmp_path: Path
) -> None:
    storage = f"file://{tmp_path}/repository"
    alpha.create()
    for node in NODES:
        alpha.guest(node).write_file("/run/note", f"{node} remembers")
    detached = alpha.export("--detach", storage=storage)
    assert detached["state"] == "queued"
    [waiting] = status(alpha)
    assert (waiting["id"], waiting["tries"]) == (detached["id"], 0)
    alpha.dos("erase", NAME)
    assert alpha.is_empty()
    assert not (tmp_path / "repository").exists()
    alpha.dos("export-worker", "--once")
    assert status(alpha) == []
    assert not [path for path in spool_of(alpha).iterdir() if path.name.startswith(("2", "."))]
    beta.dos("import-env", detached["id"], "--storage", storage)
    for node in NODES:
        guest = beta.guest(node)
        assert guest.read_file("/run/note") == f"{node} remembers"
        before = guest.ticks()
        guest.run("sleep 0.3")
        assert guest.ticks() > before


def test_it_is_sent_slowly_while_the_environment_goes_on(alpha: Place, tmp_path: Path) -> None:
    """What is written, reverted and merged meanwhile does not reach the export."""
    storage = f"file://{tmp_path}/repository"
    alpha.create(boot=False)
    alpha.dos("snapshot", NAME, "first")
    first = alpha.export("--snapshot", "first", "--detach", storage=storage)
    alpha.dos("snapshot", NAME, "second")
    alpha.dos("revert", NAME, "first")
    alpha.dos("snapshot-delete", NAME, "second")
    layers = [disk for disk in alpha.host.pool_dir.iterdir() if disk.stat().st_nlink > 1]
    assert layers
    for layer in layers:
        command = ["qemu-io", "-f", "qcow2", "-c", "write 0 64k", str(layer)]
        if layer.read_bytes()[:4] == b"QFI\xfb":
            assert subprocess.run(command, capture_output=True).returncode != 0, layer
    alpha.dos("erase", NAME)
    alpha.dos("export-worker", "--once", "--bwlimit", "4M")
    [listed] = json.loads(alpha.dos("list-exports", "--storage", storage, "--json"))
    assert listed["id"] == first["id"]
    alpha.dos("verify-exports", "--storage", storage, "--read-data")
