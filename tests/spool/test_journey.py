"""What waits in the spool of a host goes on being what it was, and is sent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from tests.bed import Bed
from tests.journey.scenario import NAME, NODES, Place


@pytest.fixture
def alpha(bed: Bed) -> Iterator[Place]:
    yield Place(bed.host("alpha"))
    bed.clean()


def status(place: Place) -> list[dict[str, object]]:
    return json.loads(place.dos("export-status", "--json"))


def test_it_is_sent_slowly_while_the_environment_goes_on(alpha: Place, tmp_path: Path) -> None:
    """What is written, reverted and merged meanwhile does not reach the export."""
    storage = f"file://{tmp_path}/repository"
    alpha.create(boot=False)
    alpha.dos("snapshot", NAME, "first")
    first = alpha.export("--snapshot", "first", "--detach", storage=storage)
    assert first["state"] == "queued"
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


def test_what_would_be_written_to_is_exported_at_once(alpha: Place, tmp_path: Path) -> None:
    """Snapshots inside of images, fuel-qa's default, on a file system without clones."""
    storage = f"file://{tmp_path}/repository"
    alpha.create(boot=False)
    alpha.dos("snapshot", NAME, "inside", SNAPSHOTS_EXTERNAL="false")
    arguments = ["export-env", NAME, "--snapshot", "inside", "--detach", "--storage", storage]
    done = alpha.host.dos(*arguments, timeout=300)
    if "Detached" in done.stderr:
        pytest.skip("this file system makes clones")
    warning, *_ = done.stderr.splitlines()
    assert warning.startswith("WARNING: Not detached, exporting now: ")
    assert "SNAPSHOTS_EXTERNAL=true" in warning
    [listed] = json.loads(alpha.dos("list-exports", "--storage", storage, "--json"))
    assert listed["id"] == done.stdout.strip()
    assert listed["snapshots"] == ["inside"]
    assert status(alpha) == []


def test_what_users_are_told(alpha: Place, tmp_path: Path) -> None:
    storage = f"file://{tmp_path}/repository"
    alpha.create(boot=False)
    arguments = ["export-env", NAME, "--detach", "--keep", "30d", "--storage", storage]
    done = alpha.host.dos(*arguments, timeout=300)
    export_id = done.stdout.strip()
    said = done.stderr
    assert "No worker runs on this host" in said
    assert f"the export waits to be sent to {storage}" in said
    shown = alpha.host.dos("export-status")
    assert export_id in shown.stdout
    assert "1 export in " in shown.stderr
    assert alpha.refused("export-status", "--drop", "nonsense")[0] == 3
    (tmp_path / "repository").write_text("in the way")
    tried = alpha.host.dos("export-worker", "--once", check=False)
    assert (tried.returncode, "Traceback" in tried.stderr) == (6, False)
    assert f"{export_id} of {NAME} was not sent (try 1): " in tried.stderr
    assert "was tried 1 time: " in alpha.dos("export-status")
    [local] = json.loads(alpha.dos("list-exports", "--local", "--env", NAME, "--json"))
    assert (local["id"], local["waits"], local["nodes"]) == (export_id, True, list(NODES))
    assert alpha.dos("list-exports", "--local", "--env", "other") == ""
    (tmp_path / "repository").unlink()
    alpha.dos("export-worker", "--once")
    [listed] = json.loads(alpha.dos("list-exports", "--storage", storage, "--json"))
    assert (listed["id"], listed["keep_seconds"]) == (export_id, 30 * 24 * 3600)
    assert alpha.dos("export-status") == ""
