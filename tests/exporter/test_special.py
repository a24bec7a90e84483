"""Environments out of the ordinary: a shared base image, an empty drive, a node without disks,
external snapshots on internal ones.
"""

from __future__ import annotations

from pathlib import Path

from tests.bed.guest_image import blank_iso
from tests.journey.scenario import Place, image_info

from .images import qcow2
from .test_variants import current, has_pattern, python, tree, write_pattern

TEMPLATE = Path(__file__).with_name("special.yaml")
DROP_DISKLESS = """
from django.apps import apps
apps.get_model("devops", "Environment").get(name="trip").get_node(name="diskless").erase()
"""


def make(place: Place, name: str) -> None:
    place.dos("create-env", str(TEMPLATE), ENV_NAME=name, GUEST_ISO=str(blank_iso()))


def virsh(place: Place, *arguments: str) -> str:
    return place.host.run(["virsh", "-c", place.host.uri, *arguments]).stdout


def test_all_of_them(alpha: Place, beta: Place, storage: str) -> None:
    qcow2(alpha.host.pool_dir / "golden")
    virsh(alpha, "pool-refresh", "default")
    make(alpha, "trip")
    make(alpha, "twin")
    python(alpha, DROP_DISKLESS)  # libvirt takes no internal snapshot of it
    write_pattern(alpha, "node-1", 1)
    virsh(alpha, "snapshot-create-as", "trip_node-1", "inside")
    write_pattern(alpha, "node-1", 2)
    virsh(alpha, "change-media", "trip_node-1", "sdb", "--eject", "--config")
    inside = alpha.export("--snapshot", "inside", storage=storage)
    both = alpha.export("--snapshot", "inside", "--with-current", storage=storage)
    twin = alpha.export(storage=storage, name="twin")
    now = both["snapshots"][1]
    snapshots = tree(alpha, "node-1")
    disks = alpha.records()["disks"]
    alpha.dos("erase", "trip")
    assert (alpha.host.pool_dir / "golden").exists()

    beta.dos("import-env", both["id"], "--storage", storage)
    assert tree(beta, "node-1") == snapshots
    assert current(beta, "node-1") == now
    assert has_pattern(beta, "node-1", 2)
    assert [row[:2] for row in beta.records()["disks"]] == [row[:2] for row in disks]
    chain = image_info(beta.host.pool_dir / "trip_node-1_system")
    assert chain["backing-filename"] == str(beta.host.pool_dir / "golden")
    drive = virsh(beta, "domblklist", "trip_node-1").split()
    assert drive[drive.index("sdb") + 1] == "-"
    beta.dos("start", "trip")
    assert {domain.isActive() for domain in beta.host.connection.listAllDomains()} == {1}
    beta.dos("revert", "trip", now)

    golden = beta.host.pool_dir / "golden"
    inode = golden.stat().st_ino
    beta.dos("import-env", twin["id"], "--storage", storage)  # on the same base image
    assert golden.stat().st_ino == inode
    beta.dos("erase", "twin")
    beta.dos("erase", "trip")
    assert [path.name for path in beta.host.pool_dir.iterdir()] == ["golden"]  # it was nobody's
    golden.write_bytes(golden.read_bytes()[:-1] + b"x")
    code, line = beta.refused("import-env", twin["id"], "--storage", storage)
    assert code == 4
    assert str(golden) in line
    golden.unlink()

    beta.dos("import-env", inside["id"], "--storage", storage)
    assert beta.snapshots() == ["inside"]
    assert has_pattern(beta, "node-1", 1)
    beta.dos("erase", "trip")
    assert [path.name for path in beta.host.pool_dir.iterdir()] == ["golden"]
    (beta.host.pool_dir / "golden").unlink()

    beta.dos("import-env", twin["id"], "--storage", storage)
    assert beta.snapshots("twin") == twin["snapshots"]
    assert len(beta.host.connection.listAllDomains()) == 2
    beta.dos("revert", "twin", *twin["snapshots"])
    beta.dos("start", "twin")
    beta.dos("erase", "twin")
