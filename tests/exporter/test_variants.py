"""What the options of export-env take along, seen by what comes back on the other host."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from tests.journey.scenario import NODES, Place, image_info

SETTINGS = {"DJANGO_SETTINGS_MODULE": "devops_snapshot.settings"}


def python(place: Place, code: str) -> str:
    """Run code on a host with Django set up, as a script of a user would."""
    whole = f"import django; django.setup()\n{code}"
    return place.host.python("-c", whole, env={**place.env, **SETTINGS}).stdout


def tree(place: Place, node: str) -> str:
    command = ["virsh", "-c", place.host.uri, "snapshot-list", f"trip_{node}", "--tree"]
    return place.host.run(command).stdout


def current(place: Place, node: str) -> str:
    domain = place.host.connection.lookupByName(f"trip_{node}")
    return domain.snapshotCurrent().getName()


def start_networks(place: Place) -> None:
    """As they are once a guest has run."""
    for network in place.host.connection.listAllNetworks():
        network.create()


def write_pattern(place: Place, node: str, pattern: int) -> None:
    """As a guest that writes into the first MiB of its disk."""
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", f"write -P {pattern} 0 1M", active_image(place, node)],
        check=True,
        capture_output=True,
    )


def has_pattern(place: Place, node: str, pattern: int) -> bool:
    command = ["qemu-io", "-f", "qcow2", "-c", f"read -P {pattern} 0 1M", active_image(place, node)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return "verification failed" not in done.stdout


def active_image(place: Place, node: str) -> str:
    xml = place.host.connection.lookupByName(f"trip_{node}").XMLDesc(0)
    source = etree.fromstring(xml).find("devices/disk[target='']/source")
    if source is None:
        source = etree.fromstring(xml).find("devices/disk/source")
    return str(source.get("file"))


ADD_DISK = """
from django.apps import apps
node = apps.get_model("devops", "Environment").get(name="trip").get_node(name="node-2")
volume = node.add_volume(name="extra", capacity=1, format="qcow2")
volume.define()
print(volume.uuid)
"""


def test_a_tree_of_snapshots(alpha: Place, beta: Place, storage: str) -> None:
    """Two branches, a disk added on one of them, and what was written after the last snapshot."""
    alpha.create(boot=False)
    start_networks(alpha)
    write_pattern(alpha, "node-1", 1)
    alpha.dos("snapshot", "trip", "root")
    write_pattern(alpha, "node-1", 2)
    alpha.dos("snapshot", "trip", "left")
    alpha.dos("revert", "trip", "root")
    path = python(alpha, ADD_DISK).strip()
    attach = ["virsh", "-c", alpha.host.uri, "attach-disk", "trip_node-2", path, "sdc"]
    alpha.host.run([*attach, "--config", "--subdriver", "qcow2", "--targetbus", "virtio"])
    write_pattern(alpha, "node-1", 3)
    alpha.dos("snapshot", "trip", "right")
    write_pattern(alpha, "node-1", 4)

    only = alpha.export("--snapshot", "left", storage=storage)
    manifest = alpha.manifest(storage, only["id"])
    assert manifest["current"] == "left"
    assert names_of(manifest) == ["root", "left"]
    assert not [file for file in manifest["files"] if file["path"] == path]

    several = alpha.export("--snapshot", "left,root", "--with-current", storage=storage)
    assert several["snapshots"][:2] == ["root", "left"]  # oldest first
    now = several["snapshots"][2]
    assert now.startswith("export-")
    everything = alpha.export("--all-snapshots", storage=storage)
    assert everything["snapshots"] == ["root", "left", "right", now]
    trees = {node: tree(alpha, node) for node in NODES}
    records = alpha.records()
    alpha.dos("erase", "trip")

    beta.dos("import-env", everything["id"], "--storage", storage)
    assert {node: tree(beta, node) for node in NODES} == trees
    assert {current(beta, node) for node in NODES} == {now}
    assert has_pattern(beta, "node-1", 4)
    for table in ("nodes", "interfaces", "l2", "group_volumes", "network_configs"):
        assert beta.records()[table] == records[table]
    assert [row[:2] for row in beta.records()["disks"]] == [row[:2] for row in records["disks"]]
    code = "from devops_snapshot.models import EnvironmentSnapshot as S;"
    code += "print([s.name for s in S.objects.order_by('created', 'id')])"
    assert python(beta, code).strip() == str(["root", "left", "right", now])
    again = beta.export("--all-snapshots", storage=storage)
    manifests = (beta.manifest(storage, export["id"]) for export in (everything, again))
    assert list(differences(*map(plain, manifests))) == []
    for snapshot, pattern in {"left": 2, "right": 3, "root": 1}.items():
        beta.dos("revert", "trip", snapshot)
        assert has_pattern(beta, "node-1", pattern), snapshot
        assert {current(beta, node) for node in NODES} == {snapshot}
    beta.dos("erase", "trip")
    assert beta.is_empty()

    beta.dos("import-env", several["id"], "--storage", storage)
    assert sorted(beta.snapshots()) == sorted(["root", "left", "right", now])
    assert has_pattern(beta, "node-1", 4)
    beta.dos("erase", "trip")
    beta.dos("import-env", only["id"], "--storage", storage)
    assert beta.snapshots() == ["root", "left"]
    assert has_pattern(beta, "node-1", 2)
    assert [row[1] for row in beta.records()["disks"] if row[0] == "node-2"] != []
    beta.dos("erase", "trip")
    assert beta.is_empty()


def names_of(manifest: dict[str, Any]) -> list[str]:
    [group] = manifest["environment"]["groups"]
    return [snapshot["name"] for snapshot in group["nodes"][0]["snapshots"]]


def plain(manifest: dict[str, Any]) -> Any:
    """Without what belongs to a host, a time or a database."""
    text = json.dumps(manifest)
    for path in {str(Path(file["path"]).parent) for file in manifest["files"]}:
        text = text.replace(path, "/pool")
    plain = json.loads(text)
    for key in ("host", "provenance", "freeze_seconds"):
        plain.pop(key)
    _forget_ids(plain)
    for group in plain["environment"]["groups"]:
        group["driver"]["params"].pop("connection_string")
        for l2 in group["l2_network_devices"]:
            for key in ("bridge", "xml"):
                l2["network"].pop(key)
    return plain


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    if type(one) is type(other) is dict and one.keys() == other.keys():
        for key in one:
            yield from differences(one[key], other[key], f"{where}.{key}")
    elif type(one) is type(other) is list and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{where}.{index}")
    elif one != other:
        yield f"{where}: {one!r} != {other!r}"


def _forget_ids(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _forget_ids(item)
    elif isinstance(value, dict):
        for key in ("id", "address_pool", "l2_network_device", "volume", "backing_store", "layer"):
            if isinstance(value.get(key), (int, str)):
                value.pop(key)
        for item in value.values():
            _forget_ids(item)


def test_definitions_only(alpha: Place, beta: Place, storage: str) -> None:
    """The disks come blank, of the same size, and without the overlays of snapshots."""
    alpha.create(boot=False)
    start_networks(alpha)
    alpha.dos("snapshot", "trip", "earlier")
    sizes = virtual_sizes(alpha, without=".earlier")
    devices, networks, records = alpha.devices(), alpha.networks(), alpha.records()
    record = alpha.export("--definitions-only", storage=storage)
    assert record["snapshots"] == []
    assert record["bytes_read"] == 0
    alpha.dos("erase", "trip")
    beta.dos("import-env", record["id"], "--storage", storage)
    assert virtual_sizes(beta) == sizes
    assert beta.devices() == devices
    assert beta.networks() == networks
    assert beta.records()["interfaces"] == records["interfaces"]
    assert beta.snapshots() == []
    beta.dos("start", "trip")
    assert all(domain.isActive() for domain in beta.host.connection.listAllDomains())
    beta.dos("erase", "trip")
    assert beta.is_empty()
    for option in (["--with-current"], ["--snapshot", "earlier"], ["--all-snapshots"]):
        arguments = ["export-env", "trip", "--definitions-only", *option, "--storage", storage]
        assert alpha.host.dos(*arguments, check=False).returncode != 0


def virtual_sizes(place: Place, *, without: str = " ") -> dict[str, int]:
    return {
        path.name: image_info(path)["virtual-size"]
        for path in place.host.pool_dir.iterdir()
        if without not in path.name
    }


PYTHON_API = """
from django.apps import apps
from devops_snapshot.exporter import Wanted, export
environment = apps.get_model("devops", "Environment").get(name="trip")
wanted = Wanted(description="by script")
records = [export(environment, storage={storage!r}, wanted=wanted) for _ in range(3)]
print("|".join(",".join([r.state, r.export_id, *r.snapshots]) for r in records))
"""


def test_three_exports_in_one_second_by_a_script(alpha: Place, storage: str) -> None:
    """The Python API, as documented: Django set up, an environment, a storage node."""
    alpha.create(boot=False)
    lines = python(alpha, PYTHON_API.format(storage=storage)).strip().split("|")
    done = [line.split(",") for line in lines]
    assert [state for state, *_ in done] == ["done"] * 3
    assert len({export_id for _, export_id, *_ in done}) == 3
    assert len({snapshot for *_, snapshot in done}) == 3
    listed = json.loads(alpha.dos("list-exports", "--storage", storage, "--json"))
    assert [entry["description"] for entry in listed] == ["by script"] * 3
    assert [entry["id"] for entry in listed] == [export_id for _, export_id, *_ in done]
