"""Exports of an attacker who owns the storage node: one clear line each, and nothing is left.

The checks themselves have tests of their own (``tests/manifest``, ``tests/fuzz``); here is seen
that they stand in the way of an import, before anything of the host is touched.
"""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import tests.devops.databases  # noqa: F401 # sets Django up
from tests.bed import Bed
from tests.journey.scenario import Place

from . import forge

TIB = 1 << 40


@pytest.fixture(scope="module")
def storage(bed: Bed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An honest export of an environment that is off."""
    alpha = Place(bed.host("alpha"))
    alpha.create(boot=False)
    url = f"file://{tmp_path_factory.mktemp('hostile')}/repository"
    alpha.export(storage=url)
    alpha.dos("erase", "trip")
    yield url
    bed.clean()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def beta(bed: Bed) -> Iterator[Place]:
    place = Place(bed.host("beta"))
    yield place
    place.host.clean()


def node(document: dict[str, Any]) -> dict[str, Any]:
    return document["environment"]["groups"][0]["nodes"][0]


def network(document: dict[str, Any]) -> dict[str, Any]:
    devices = document["environment"]["groups"][0]["l2_network_devices"]
    return next(l2["network"] for l2 in devices if l2["network"]["dhcp_hosts"])


def in_definition(old: str, new: str) -> forge.Change:
    def change(document: dict[str, Any]) -> None:
        assert old in node(document)["domain_xml"]
        node(document)["domain_xml"] = node(document)["domain_xml"].replace(old, new, 1)

    return change


def in_snapshot(old: str, new: str) -> forge.Change:
    def change(document: dict[str, Any]) -> None:
        [snapshot] = node(document)["snapshots"]
        assert old in snapshot["xml"]
        snapshot["xml"] = snapshot["xml"].replace(old, new, 1)

    return change


def outside_the_pool(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    path = document["files"][-1]["path"]
    document.update(json.loads(text.replace(path, "/etc/cron.d/..")))


def line_for_dnsmasq(document: dict[str, Any]) -> None:
    network(document)["dhcp_hosts"][0]["name"] = "x\ndhcp-script=/tmp/x"


def name_for_the_terminal(document: dict[str, Any]) -> None:
    node(document)["name"] = "\x1b[2JImported trip"


def size_that_is_not_true(document: dict[str, Any]) -> None:
    document["files"][0]["size"] = 1


def endless_disk(document: dict[str, Any]) -> None:
    document["files"][0]["virtual_size"] = 1 << 62


def written_base(document: dict[str, Any]) -> None:
    """The disk of a node without snapshots is what other files stand on."""
    [base, *_] = [file["backing"] for file in document["files"] if file["backing"]]
    [top, *_] = [file["path"] for file in document["files"] if file["backing"] == base]
    for one in document["environment"]["groups"][0]["nodes"]:
        if top in one["domain_xml"]:
            one["snapshots"] = []
            one["domain_xml"] = one["domain_xml"].replace(top, base)


MANIFESTS: dict[str, tuple[forge.Change, str]] = {
    "a file outside of the pool": (outside_the_pool, "which is no file name"),
    "a line for dnsmasq": (line_for_dnsmasq, "DHCP host 'x\\ndhcp-script"),
    "a name for the terminal": (name_for_the_terminal, "'\\x1b[2JImported trip'"),
    "a size that is not true": (size_that_is_not_true, "bytes in the repository"),
    "a disk without end": (endless_disk, "is a disk of 4611686018427387904 bytes"),
    "a base that is written to": (written_base, "on which others stand"),
    "arguments of QEMU": (
        in_definition(
            "</domain>",
            "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
            "<q:arg value='-S'/></q:commandline></domain>",
        ),
        "<commandline>",
    ),
    "priority over the host": (
        in_definition(
            "</domain>",
            "<cputune><vcpusched vcpus='0' scheduler='fifo' priority='99'/></cputune></domain>",
        ),
        "<vcpusched>",
    ),
    "memory without end": (in_definition('unit="KiB">', 'unit="PiB">'), "as <memory>"),
    "entities": (
        in_definition("<domain ", "<!DOCTYPE d [<!ENTITY x SYSTEM '/etc/shadow'>]><domain "),
        "DOCTYPE",
    ),
    "a snapshot's disk by another name": (
        in_snapshot("<disks>", "<disks><x name='sdz'><source file='/etc/shadow'/></x>"),
        "<x> in <disks>",
    ),
    "a memory file of the host": (
        in_snapshot("<disks>", "<memory snapshot='external' file='/etc/shadow'/><disks>"),
        "<memory> twice",
    ),
}


def refused(place: Place, export: str, storage: str, told: str) -> None:
    code, line = place.refused("import-env", export, "--storage", storage)
    assert code == 7
    assert told in line
    assert line.isprintable()
    assert len(line) < 2000
    assert place.is_empty()


@pytest.mark.parametrize(("change", "told"), MANIFESTS.values(), ids=MANIFESTS)
def test_manifests(
    beta: Place, storage: str, tmp_path: Path, change: forge.Change, told: str
) -> None:
    refused(beta, forge.forge(storage, tmp_path, manifest=change), storage, told)


def header(*fields: tuple[int, str, int]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        to_version_3(path)
        with path.open("r+b") as image:
            for at, kind, value in fields:
                image.seek(at)
                image.write(struct.pack(f">{kind}", value))

    return change


def to_version_3(path: Path) -> None:
    """libvirt's own are of the older one."""
    subprocess.run(["qemu-img", "amend", "-o", "compat=1.1", str(path)], check=True)


def with_bitmap(path: Path) -> None:
    to_version_3(path)
    subprocess.run(["qemu-img", "bitmap", "--add", str(path), "b"], check=True)


IMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "unknown features": (header((72, "Q", 1 << 40)), "features that are unknown"),
    "a disk of another size": (header((24, "Q", 5 * TIB)), "the manifest says"),
    "32 MiB of tables for a small disk": (header((36, "I", 1 << 22)), "a first table of 33554432"),
    "a refcount table without end": (header((56, "I", 1 << 20)), "a refcount table of"),
    "snapshots without end": (header((60, "I", 65536)), "65536 snapshots"),
    "an encrypted one": (header((32, "I", 2)), "encrypted"),
    "bitmaps": (with_bitmap, "bitmaps of changed blocks"),
}


@pytest.mark.parametrize(("change", "told"), IMAGES.values(), ids=IMAGES)
def test_images(
    beta: Place, storage: str, tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    files = {"node-2_system": change}
    refused(beta, forge.forge(storage, tmp_path, files=files), storage, told)


def greedy(document: dict[str, Any]) -> None:
    """More memory than this host has, and addresses that are somebody's on the Internet."""
    for one in document["environment"]["groups"][0]["nodes"]:
        one["domain_xml"] = one["domain_xml"].replace('unit="KiB">131072<', 'unit="TiB">8<')
    network(document)["ip"] = "8.8.8.1"


def test_what_is_greedy_is_told(beta: Place, storage: str, tmp_path: Path) -> None:
    export = forge.forge(storage, tmp_path, manifest=greedy)
    command = ("import-env", export, "--storage", storage, "--dry-run")
    code, line = beta.refused(*command, "--start")
    assert code == 4
    assert "guests may fill 16.0 TiB" in line
    assert "With '--define-only' it can come" in line
    found = json.loads(beta.dos(*command, "--json"))["findings"]
    assert [f["result"] for f in found if f["subject"] == "memory"] == ["note"]
    assert [f["found"] for f in found if f["subject"] == "subnets"] == [
        "'trip_admin' (8.8.8.0/24) has addresses of the Internet"
    ]
