"""Copies, parts and disks of one environment, as libvirt and QEMU run them.

The environment's networks have no address on the host: whoever brings a copy beside it has the
same subnets, and this is not about networks.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from devops_snapshot.importer.reshape.memory_header import MAX_SIZE, MemoryHeader
from tests.bed import Bed, Guest, template_env, two_nodes
from tests.journey.scenario import NODES, Place

from . import forge

DISK = 4  # MiB, the part of the disks that is written to
NOTE = "/run/note"
ADDRESSES = {"node-1": "192.0.2.1", "node-2": "192.0.2.2"}
LATE = re.compile(r"Clocks are \d.* behind on node-1, node-2: 'dos.py time-sync trip' sets them")
KVM = Path("/dev/kvm")
UUID_FILE = "/sys/class/dmi/id/product_uuid"


@dataclass(frozen=True)
class Origin:
    """An environment on alpha that goes on running, and its export.

    :param disks: digests at each snapshot, by node
    :param frozen: each guest's ticks right before and after the last snapshot
    """

    place: Place
    storage: str
    export: dict[str, Any]
    disks: dict[str, dict[str, str]]
    frozen: dict[str, tuple[int, int]]


def define(place: Place) -> None:
    """The two nodes of the bed, on networks that are bridges and nothing else."""
    template = two_nodes(place.host).read_text()
    for pool in ("admin-pool01", "private-pool01"):
        template = template.replace(f"address_pool: {pool}", "address_pool: null")
    template = template.replace("dhcp: true", "dhcp: false").replace("mode: nat", "mode: null")
    path = place.host.directory / "unaddressed.yaml"
    path.write_text(template)
    place.dos("create-env", str(path), **template_env(place.host, name="trip"))


@pytest.fixture(scope="module")
def origin(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    alpha = Place(bed.host("alpha"))
    define(alpha)
    alpha.dos("start", "trip")
    for node in NODES:
        alpha.guest(node).wait_boot()
    disks = {}
    for index, name in enumerate(("early", "middle", "late")):
        for node in NODES:
            guest = alpha.guest(node)
            guest.run(f"yes {name} | dd of=/dev/vda bs=4k count=64 seek={256 * index} && sync")
            guest.write_file(NOTE, f"{node} at {name}")
            guest.run(f"ip addr replace {ADDRESSES[node]}/24 dev eth1")
        disks[name] = digests(alpha)
        before = {node: alpha.guest(node).ticks() for node in NODES}
        alpha.dos("snapshot", "trip", name)
        frozen = {node: (before[node], alpha.guest(node).ticks()) for node in NODES}
    storage = f"file://{tmp_path_factory.mktemp('storage')}/repository"
    export = alpha.export("--all-snapshots", storage=storage)
    yield Origin(alpha, storage, export, disks, frozen)
    bed.clean()


@pytest.fixture
def beta(bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = Place(bed.host("beta"))
    yield place
    place.host.clean()


def digests(place: Place, name: str = "trip") -> dict[str, str]:
    return {node: place.guest(node, name).disk_digest(mebibytes=DISK) for node in NODES}


def domain_uuid(place: Place, name: str) -> str:
    return str(place.host.connection.lookupByName(name).UUIDString())


def definition(place: Place, name: str) -> etree._Element:
    return etree.fromstring(place.host.connection.lookupByName(name).XMLDesc())


def files(place: Place) -> set[str]:
    return {path.name for path in place.host.pool_dir.iterdir() if path.is_file()}


def macs_of(guest: Guest) -> list[str]:
    return guest.run("cat /sys/class/net/eth*/address").split()


def test_a_copy_beside_the_running_original(origin: Origin) -> None:
    """Memory comes along, and every command works on it; the original notices nothing."""
    alpha = origin.place
    before = files(alpha)
    ticks = {node: alpha.guest(node).ticks() for node in NODES}
    alpha.dos("import-env", "latest", "--storage", origin.storage, "--name", "copy", "--isolated")
    goes_on_where_it_was_frozen(origin)
    has_names_of_its_own(alpha, before)
    guests_meet_their_own_kind(alpha)
    has_the_old_uuid_until_it_reboots(alpha)
    lives_like_any_other(origin)
    alpha.dos("erase", "copy")
    assert files(alpha) == before
    domains = {domain.name() for domain in alpha.host.connection.listAllDomains()}
    networks = {network.name() for network in alpha.host.connection.listAllNetworks()}
    assert domains == {f"trip_{node}" for node in NODES}
    assert networks == {"trip_admin", "trip_private"}
    assert alpha.dos("list").split()[2:] == ["trip"]
    for node in NODES:
        assert alpha.guest(node).ticks() > ticks[node]
    alpha.dos("revert-resume", "trip", "late")
    assert digests(alpha) == origin.disks["late"]


def goes_on_where_it_was_frozen(origin: Origin) -> None:
    for node in NODES:
        guest = origin.place.guest(node, "copy")
        low, high = origin.frozen[node]
        assert low <= guest.ticks() <= high + 300  # ten a second at most
        assert guest.read_file(NOTE) == f"{node} at late"
    assert digests(origin.place, "copy") == origin.disks["late"]


def has_names_of_its_own(alpha: Place, before: set[str]) -> None:
    added = files(alpha) - before
    assert {"copy_default_base", "copy_node-2_system", "copy_node-1_iso"} <= added
    assert "snapshot-memory-copy_node-1.late" in added
    assert not [name for name in added if "trip" in name]
    for node in NODES:
        root = definition(alpha, f"copy_{node}")
        assert b"trip" not in etree.tostring(root)
        assert root.findtext("uuid") != domain_uuid(alpha, f"trip_{node}")
    for path in alpha.host.pool_dir.glob("snapshot-memory-copy_*"):
        header = MemoryHeader.unpack(path.read_bytes()[:MAX_SIZE])
        assert "trip" not in header.definition
        assert "copy_private" in header.definition
    records = json.dumps(alpha.records("copy"))
    assert "trip" not in records
    assert len(alpha.networks()) == 4


def guests_meet_their_own_kind(alpha: Place) -> None:
    """Both pairs have the same addresses: each node reaches the other one of its environment."""
    for name in ("trip", "copy"):
        one, other = (alpha.guest(node, name) for node in NODES)
        one.run(f"ping -c 1 -W 10 {ADDRESSES['node-2']}", timeout=30)
        before = packets(other)
        one.run(f"ping -c 5 -i 0.2 -W 10 {ADDRESSES['node-2']}", timeout=30)
        assert packets(other) >= before + 5


def packets(guest: Guest) -> int:
    return int(guest.run("cat /sys/class/net/eth1/statistics/rx_packets"))


def has_the_old_uuid_until_it_reboots(alpha: Place) -> None:
    guest = alpha.guest("node-2", "copy")
    assert guest.run(f"cat {UUID_FILE}") == domain_uuid(alpha, "trip_node-2")
    macs = macs_of(guest)
    alpha.host.connection.lookupByName("copy_node-2").reset()
    time.sleep(1)
    guest.wait_boot()
    assert guest.run(f"cat {UUID_FILE}") == domain_uuid(alpha, "copy_node-2")
    assert macs_of(guest) == macs == macs_of(alpha.guest("node-2"))


def lives_like_any_other(origin: Origin) -> None:
    alpha = origin.place
    alpha.dos("revert-resume", "copy", "early")
    assert digests(alpha, "copy") == origin.disks["early"]
    assert alpha.guest("node-1", "copy").read_file(NOTE) == "node-1 at early"
    alpha.dos("snapshot", "copy", "own")
    alpha.dos("snapshot-delete", "copy", "middle")
    alpha.dos("revert-resume", "copy", "own")
    assert alpha.guest("node-2", "copy").read_file(NOTE) == "node-2 at early"
    assert alpha.snapshots("copy") == ["early", "late", "own"]
    assert alpha.dos("sync", "copy", "--json")
    again = alpha.export("--snapshot", "late", storage=origin.storage, name="copy")
    assert again["bytes_sent"] < 2_000_000
    alpha.dos("revert-resume", "copy", "late")
    assert digests(alpha, "copy") == origin.disks["late"]


def test_a_copy_gets_its_old_name_back(origin: Origin, beta: Place) -> None:
    """Exported under its new name, imported under the first one, on another host."""
    alpha = origin.place
    alpha.dos(
        *("import-env", origin.export["id"], "--storage", origin.storage, "--isolated"),
        *("--name", "n" * 70, "--snapshot", "late", "--paused"),
    )
    cut = [len(name) for name in files(alpha) if name[32:].startswith("nnn") and "-" not in name]
    assert cut == [80] * len(cut)
    assert len(cut) > len(NODES)
    again = alpha.export("--snapshot", "late", storage=origin.storage, name="n" * 70)
    alpha.dos("erase", "n" * 70)
    beta.dos("import-env", again["id"], "--storage", origin.storage, "--name", "trip")
    assert {f"trip_{node}_iso" for node in NODES} | {"trip_default_base"} <= files(beta)
    assert not [name for name in files(beta) if "nnn" in name]
    assert digests(beta) == origin.disks["late"]
    assert beta.guest("node-1").read_file(NOTE) == "node-1 at late"


def of_tomorrow(document: dict[str, Any]) -> None:
    """As if it came from KVM, a QEMU and a CPU that are not known here."""
    for group in document["environment"]["groups"]:
        for node in group["nodes"]:
            for owner, key in [(node, "domain_xml"), *((s, "xml") for s in node["snapshots"])]:
                xml = owner[key].replace("pc-i440fx-7.2", "pc-i440fx-99.0")
                xml = xml.replace(">qemu64<", ">EPYC-Imagined<")
                owner[key] = re.sub("""omain type=(['"])qemu""", r"omain type=\1kvm", xml)


@pytest.fixture
def without_kvm(beta: Place) -> Iterator[Place]:
    """KVM does not work there, whether the machine has it or not."""
    if not KVM.exists():
        yield beta
        return
    beta.host.run(["mount", "--bind", "/dev/null", str(KVM)])
    yield beta
    beta.host.run(["umount", str(KVM)])


def test_disks_of_a_machine_that_this_host_cannot_be(
    origin: Origin, without_kvm: Place, tmp_path: Path
) -> None:
    """Under another name they have network cards of their own, too."""
    beta = without_kvm
    export = forge.forge(origin.storage, tmp_path, manifest=of_tomorrow)
    arguments = ("import-env", export, "--storage", origin.storage, "--name", "copy")
    refused = beta.host.dos(*arguments, check=False)
    assert refused.returncode == 4
    assert "pc-i440fx-99.0" in refused.stderr
    assert "node 'node-1' ran in KVM, which does not work here: " in refused.stderr
    assert "--disks-only" in refused.stderr.splitlines()[-1]
    plan = json.loads(beta.dos(*arguments, "--disks-only", "--dry-run", "--json"))
    emulated = [f for f in plan["findings"] if f["subject"] == "emulator"]
    assert {finding["result"] for finding in emulated} == {"note"}
    assert all("emulated here, slowly" in finding["remedy"] for finding in emulated)
    beta.dos(*arguments, "--nodes", "node-1", "--disks-only", "--start")
    copy = beta.guest("node-1", "copy")
    copy.wait_boot()
    assert is_of_this_host(definition(beta, "copy_node-1"))
    assert "No such file" in copy.run(f"cat {NOTE}", check=False)
    assert copy.disk_digest(mebibytes=DISK) == origin.disks["late"]["node-1"]
    assert beta.snapshots("copy") == ["early", "middle", "late"]
    assert not [name for name in files(beta) if "memory" in name]
    rows = [row[2] for row in beta.records("copy")["interfaces"]]
    assert rows == macs_of(copy)
    assert not set(rows) & set(macs_of(origin.place.guest("node-1")))
    beta.dos("revert", "copy", "early")
    beta.dos("start", "copy")
    copy.wait_boot()
    assert copy.disk_digest(mebibytes=DISK) == origin.disks["early"]["node-1"]
    copy.write_file(NOTE, "in memory again")
    beta.dos("snapshot", "copy", "own")
    beta.dos("revert-resume", "copy", "own")
    assert copy.read_file(NOTE) == "in memory again"
    beta.dos("erase", "copy")
    assert beta.is_empty()


def is_of_this_host(root: etree._Element) -> bool:
    machine = root.find("os/type").get("machine")
    assert root.get("type") == "qemu"
    return machine.startswith("pc-i440fx-") and machine != "pc-i440fx-99.0"


def test_one_snapshot_in_the_middle(origin: Origin, beta: Place) -> None:
    arguments = ("import-env", origin.export["id"], "--storage", origin.storage)
    done = beta.host.dos(*arguments, "--snapshot", "middle")
    assert LATE.search(done.stderr)
    assert beta.snapshots() == ["middle"]
    assert digests(beta) == origin.disks["middle"]
    assert beta.guest("node-2").read_file(NOTE) == "node-2 at middle"
    memories = {name for name in files(beta) if "memory" in name}
    assert memories == {f"snapshot-memory-trip_{node}.middle" for node in NODES}
    beta.dos("snapshot", "trip", "own")
    assert LATE.search(beta.host.dos("revert-resume", "trip", "middle").stderr)
    beta.dos("revert-resume", "trip", "own")
    assert digests(beta) == origin.disks["middle"]


def test_some_nodes(origin: Origin, beta: Place) -> None:
    """A guest whose clock cannot be set is named; it is there all the same."""
    arguments = ("import-env", origin.export["id"], "--storage", origin.storage)
    done = beta.host.dos(*arguments, "--nodes", "node-2", "--timesync", check=False)
    assert done.returncode == 1
    assert "Error: trip is here, but: " in done.stderr
    assert "node-2" in done.stderr
    [domain] = beta.host.connection.listAllDomains()
    assert domain.name() == "trip_node-2"
    assert not [
        name for name in files(beta) if "node-1" in name or ("base" in name and "default" in name)
    ]
    guest = beta.guest("node-2")
    assert guest.disk_digest(mebibytes=DISK) == origin.disks["late"]["node-2"]
    beta.dos("snapshot", "trip", "own")
    beta.dos("revert-resume", "trip", "early")
    assert guest.read_file(NOTE) == "node-2 at early"
    beta.dos("erase", "trip")
    assert beta.is_empty()


def test_internal_snapshots(origin: Origin, beta: Place) -> None:
    """Memory inside the images comes back under another name, and can be left alone."""
    define(beta)
    for network in beta.host.connection.listAllNetworks():
        network.create()
    beta.host.connection.lookupByName("trip_node-1").create()
    guest = beta.guest("node-1")
    guest.wait_boot()
    guest.write_file(NOTE, "inside")
    guest.run("echo inside | dd of=/dev/vda && sync")
    beta.dos("snapshot", "trip", "inside", SNAPSHOTS_EXTERNAL="false")
    ticks = guest.ticks()
    export = beta.export("--snapshot", "inside", storage=origin.storage)["id"]
    beta.dos("erase", "trip")
    arguments = ("import-env", export, "--storage", origin.storage, "--name", "copy")
    beta.dos(*arguments)
    copy = beta.guest("node-1", "copy")
    assert copy.read_file(NOTE) == "inside"
    assert copy.ticks() < ticks + 300
    beta.dos("erase", "copy")
    beta.dos(*arguments, "--disks-only", "--start")
    copy.wait_boot()
    assert "No such file" in copy.run(f"cat {NOTE}", check=False)
    copy.run("echo later | dd of=/dev/vda && sync")
    beta.dos("revert", "copy", "inside")
    beta.dos("start", "copy")
    copy.wait_boot()
    assert copy.run("head -c 6 /dev/vda") == "inside"
