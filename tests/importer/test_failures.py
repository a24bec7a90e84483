"""An import that fails or is interrupted, at every stage: the host is as before, rows are too."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.journey.scenario import Place

from . import forge


@pytest.fixture
def first(beta: Place, exported: str) -> str:
    """The id of the honest one; forged ones come later."""
    listed = beta.dos("list-exports", "--storage", exported, "--json")
    return str(json.loads(listed)[0]["id"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def last_import(place: Place) -> tuple[str, str, str, int]:
    """State, error, environment and received bytes of the last record."""
    [database] = (place.host.home / ".devops").glob("*.sqlite3")
    query = (
        "SELECT state, error, environment_name, bytes_received, finished"
        " FROM devops_snapshot_import ORDER BY id DESC LIMIT 1"
    )
    with sqlite3.connect(database) as connection:
        state, error, name, received, finished = connection.execute(query).fetchone()
    assert finished is not None
    return state, error, name, received


def fails(place: Place, export: str, storage: str, *arguments: str) -> tuple[int, str]:
    code, line = place.refused("import-env", export, "--storage", storage, *arguments)
    assert place.is_empty()
    state, error, name, _ = last_import(place)
    assert (state, name) == ("failed", "trip")
    assert error in line
    return code, line


def test_a_damaged_chunk(beta: Place, exported: str, first: str) -> None:
    """Noticed while files are fetched."""
    packs = [p for p in Path(exported.removeprefix("file://")).glob("packs/*/*") if p.is_file()]
    pack = max(packs, key=lambda path: path.stat().st_size)
    kept = pack.read_bytes()
    middle = len(kept) // 2
    pack.write_bytes(kept[:middle] + b"\xff" * 4096 + kept[middle + 4096 :])
    try:
        code, line = fails(beta, first, exported)
    finally:
        pack.write_bytes(kept)
    assert code == 7
    assert "damaged" in line


@contextmanager
def small_pool(beta: Place, options: str) -> Iterator[None]:
    """A storage pool ``small``, which stays empty."""
    small = beta.host.directory / "small"
    small.mkdir()
    beta.host.run(["mount", "-t", "tmpfs", "-o", options, "none", str(small)])
    define = ["virsh", "-c", beta.host.uri, "pool-create-as", "small", "dir", "--target"]
    beta.host.run([*define, str(small)])
    try:
        yield
        pool = beta.host.connection.storagePoolLookupByName("small")
        pool.refresh()
        assert not pool.listVolumes()
    finally:
        beta.host.run(["virsh", "-c", beta.host.uri, "pool-destroy", "small"])
        beta.host.run(["umount", str(small)])
        small.rmdir()


def test_a_pool_that_takes_no_more(beta: Place, exported: str, first: str) -> None:
    """Noticed while files are made: there is space, but there are no inodes."""
    with small_pool(beta, "size=400m,nr_inodes=5"):
        code, line = fails(beta, first, exported, "--pool", "small")
    assert code == 6
    assert "No space left" in line


def test_a_pool_without_room(beta: Place, exported: str, first: str) -> None:
    """Noticed before anything is fetched."""
    with small_pool(beta, "size=1m"):
        code, line = fails(beta, first, exported, "--pool", "small")
    assert code == 8
    assert "1.0 MiB free in 'small', " in line
    assert " to be written" in line
    assert "put it into another storage pool with --pool" in line


def test_a_subnet_that_the_host_uses_itself(beta: Place, exported: str, first: str) -> None:
    """libvirt would notice when the network starts."""
    [pool, *_] = beta.manifest(exported, first)["environment"]["address_pools"]
    beta.host.run(["ip", "link", "add", "taken", "type", "bridge"])
    try:
        beta.host.run(["ip", "addr", "add", pool["net"].replace(".0/", ".77/"), "dev", "taken"])
        beta.host.run(["ip", "link", "set", "taken", "up"])
        code, line = fails(beta, first, exported)
    finally:
        beta.host.run(["ip", "link", "del", "taken"])
    assert code == 4
    assert f"overlaps with the route to {pool['net']} by taken" in line
    assert "--isolated" in line


def test_rows_that_the_database_refuses(beta: Place, exported: str, tmp_path: Path) -> None:
    """Noticed when rows are written: a disk on a volume that the manifest does not have."""

    def change(document: dict[str, Any]) -> None:
        document["environment"]["groups"][0]["nodes"][0]["disks"][0]["volume"] = 4711

    code, line = fails(beta, forge.forge(exported, tmp_path, manifest=change), exported)
    assert code == 7
    assert "4711" in line


def test_a_machine_that_libvirt_refuses(beta: Place, exported: str, tmp_path: Path) -> None:
    """Noticed when the second domain is defined; the first one is there by then."""

    def change(document: dict[str, Any]) -> None:
        node = document["environment"]["groups"][0]["nodes"][1]
        xml = node["domain_xml"]
        assert xml.count('slot="0x03"') == 1
        node["domain_xml"] = xml.replace('slot="0x07"', 'slot="0x03"')  # two in one place

    _, line = fails(beta, forge.forge(exported, tmp_path, manifest=change), exported)
    assert "defining domain trip_node-2" in line


def test_a_machine_type_that_is_not_here(beta: Place, exported: str, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        node = document["environment"]["groups"][0]["nodes"][1]
        node["domain_xml"] = node["domain_xml"].replace("pc-i440fx-7.2", "imagined")

    export = forge.forge(exported, tmp_path, manifest=change)
    code, line = fails(beta, export, exported)
    assert code == 4
    assert "node 'node-2' is of machine type imagined" in line
    assert "--disks-only" in line
    code, line = beta.refused("import-env", export, "--storage", exported, "--disks-only")
    assert code == 8
    assert "Install a QEMU that has it" in line


def test_a_host_that_is_not_what_is_wanted(beta: Place, exported: str, tmp_path: Path) -> None:
    """A CPU, an architecture, later versions, and as much memory as it has."""
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    there = sum(int(meminfo[key].split()[0]) for key in ("MemTotal", "SwapTotal"))

    def change(document: dict[str, Any]) -> None:
        document["host"] |= {"libvirt_version": 99_000_000, "qemu_version": 99_000_000}
        first, second = document["environment"]["groups"][0]["nodes"]
        for snapshot in first["snapshots"]:
            snapshot["xml"] = snapshot["xml"].replace(">qemu64<", ">Cascadelake-Server<")
        second["domain_xml"] = second["domain_xml"].replace('arch="x86_64"', 'arch="s390x"')
        for node in (first, second):
            half = f'unit="KiB">{there // 2}<'
            node["domain_xml"] = node["domain_xml"].replace('unit="KiB">131072<', half)

    export = forge.forge(exported, tmp_path, manifest=change)
    arguments = ("import-env", export, "--storage", exported, "--dry-run", "--json")
    done = beta.host.dos(*arguments, check=False)
    assert done.returncode == 8
    found = [(f["result"], f["found"]) for f in json.loads(done.stdout)["findings"]]
    uri = beta.host.uri
    assert ("cannot", f"{uri} cannot run guests of type qemu on s390x") in found
    [(_, cpu)] = [finding for finding in found if "lacks: Cascadelake-Server" in finding[1]]
    assert cpu.startswith("node 'node-1' at ")
    assert ("needs an option", cpu) in found
    notes = [what for result, what in found if result == "note"]
    assert sum("99.0.0 where it was exported" in what for what in notes) == 2
    assert any(what.startswith("guests may fill ") and " are free" in what for what in notes)


def test_memory_that_qemu_refuses(beta: Place, exported: str, first: str, tmp_path: Path) -> None:
    """Noticed when all is there but for the guests: the first one may be running already."""
    [name] = [
        file["path"]
        for file in beta.manifest(exported, first)["files"]
        if file["role"] == "memory" and "node-2" in file["path"]
    ]
    export = forge.forge(exported, tmp_path, files={name: forge.with_other_stream})
    _, line = fails(beta, export, exported)
    assert "restoring the memory" in line
    assert "are off now" not in line
    assert last_import(beta)[3] > 1_000_000


@pytest.mark.parametrize(
    ("ending", "change", "told"),
    [
        ("node-2_system", forge.with_backing_file, "/etc/shadow"),
        ("node-2_system", forge.with_data_file, "another file"),
        ("node-2_system", forge.as_raw, "is raw, the manifest says qcow2"),
    ],
)
def test_images_that_are_not_what_they_are_called(
    beta: Place,
    exported: str,
    tmp_path: Path,
    ending: str,
    change: Callable[[Path], None],
    told: str,
) -> None:
    export = forge.forge(exported, tmp_path, files={ending: change})
    code, line = fails(beta, export, exported)
    assert code == 7
    assert told in line


def test_memory_of_another_machine(beta: Place, exported: str, first: str, tmp_path: Path) -> None:
    """libvirt would start the guest from the definition inside the file."""
    [name] = [
        file["path"]
        for file in beta.manifest(exported, first)["files"]
        if file["role"] == "memory" and "node-1" in file["path"]
    ]
    export = forge.forge(exported, tmp_path, files={name: forge.with_another_machine})
    code, line = fails(beta, export, exported)
    assert code == 7
    assert "the memory of node 'node-1'" in line


def test_a_hostile_definition(beta: Place, exported: str, tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        node = document["environment"]["groups"][0]["nodes"][0]
        node["domain_xml"] = node["domain_xml"].replace(
            "</devices>", "<filesystem><source dir='/'/></filesystem></devices>"
        )

    code, line = fails(beta, forge.forge(exported, tmp_path, manifest=change), exported)
    assert code == 7
    assert "<filesystem>" in line


def files_come(place: Place) -> bool:
    return any(place.host.pool_dir.iterdir())


def networks_come(place: Place) -> bool:
    return bool(place.host.connection.listAllNetworks())


def domains_come(place: Place) -> bool:
    return bool(place.host.connection.listAllDomains())


def guests_come(place: Place) -> bool:
    return any(domain.isActive() for domain in place.host.connection.listAllDomains())


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        (files_come, signal.SIGINT),
        (networks_come, signal.SIGINT),
        (domains_come, signal.SIGTERM),
        (guests_come, signal.SIGINT),
    ],
)
def test_interrupted(
    beta: Place, exported: str, first: str, stage: Callable[[Place], bool], number: signal.Signals
) -> None:
    """Whatever is half made when the signal comes, twice, as impatient people send it."""
    command = [sys.executable, "-m", "devops_snapshot", "import-env", first]
    process = beta.host.popen([*command, "--storage", exported])
    deadline = time.monotonic() + 60
    while not stage(beta):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    for _ in range(2):
        process.send_signal(number)
        time.sleep(0.02)
    _, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr.partition("Interrupted")[0]  # then the interpreter ends
    assert process.returncode in (128 + number, -number), stderr  # -: the second came very late
    assert beta.is_empty()
    state, error, name, _ = last_import(beta)
    assert (state, error, name) == ("cancelled", "interrupted", "trip")
