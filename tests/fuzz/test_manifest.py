"""Manifests as an attacker would write them: refused in one line, or harmless in all that follows.

What is let through goes the whole way that an import goes with it: choices, names of files,
definitions and networks for this host, rows in a database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from devops_snapshot.devops.libvirt.hypervisor import Hypervisor
from devops_snapshot.exporter.run import summarise
from devops_snapshot.importer.choices import Choices
from devops_snapshot.importer.domain import adapt, adapt_snapshot
from devops_snapshot.importer.networks import build_network, isolate
from devops_snapshot.importer.plan import Plan, place_files
from devops_snapshot.importer.reshape import notes, reshape, spelled_apart
from devops_snapshot.importer.rows import write_rows
from devops_snapshot.importer.target import Target
from devops_snapshot.management.columns import fact
from devops_snapshot.management.commands import show_export
from devops_snapshot.manifest import Manifest
from devops_snapshot.manifest.check import check_manifest, check_memory, definition_of
from devops_snapshot.manifest.definition import check_definition
from devops_snapshot.manifest.nwfilters import build_nwfilter, nwfilters_of, parse_nwfilter
from devops_snapshot.manifest.reading import parse_network
from devops_snapshot.snapshot.domain_xml import parse
from devops_snapshot.snapshot.metadata import parse_snapshot
from devops_snapshot.snapshot.undo import Undo
from tests.devops.databases import sqlite_environment, used_database
from tests.manifest.real import document, latest

from . import hostile, xml
from .effort import examples, only_clear_errors

POOL = Path("/srv/pool")
EMULATOR = "/usr/bin/the-emulator"

choices = st.builds(
    Choices,
    name=st.sampled_from([None, "copy", "é", "x" * 100]),
    isolated=st.booleans(),
    disks_only=st.booleans(),
    snapshot=st.sampled_from([None, None, "deployed"]),
    nodes=st.sampled_from([(), (), ("node-1",)]),
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with used_database(sqlite_environment(tmp_path_factory.mktemp("rows") / "devops.sqlite3")):
        yield


@st.composite
def manifests(draw: st.DrawFn) -> bytes:
    """A real one with values, rows or XML that are not."""
    changed: Any = latest()
    if draw(st.booleans()):
        changed = draw(hostile.changed(changed))
    if draw(st.booleans()):
        for _ in range(draw(st.integers(1, 2))):
            place, key = draw(st.sampled_from(_documents(changed) or [(changed, "version")]))
            if isinstance(place[key], str):
                try:
                    place[key] = draw(xml.changed(place[key]))
                except (etree.XMLSyntaxError, ValueError):  # it was spoilt before
                    place[key] = draw(st.text())
    return hostile.to_json(changed).encode(errors="replace")


def _documents(changed: Any) -> list[tuple[dict[str, Any], str]]:
    """Where there is XML."""
    found = []
    for path in hostile.places(changed):
        if path and path[-1] in ("xml", "domain_xml"):
            place = changed
            for step in path[:-1]:
                place = place[step]
            found.append((place, path[-1]))
    return found


@examples(40)
@given(data=manifests(), choices=choices)
def test_is_refused_or_harmless(database: None, data: bytes, choices: Choices) -> None:
    with only_clear_errors():
        exported = Manifest.from_json(data)
        show(exported)
        check_manifest(exported)
        manifest = reshape(exported, choices)
        check_manifest(manifest)
        for note in notes(exported, manifest, choices):
            assert str(note).isprintable()
        if choices.isolated:
            manifest = spelled_apart(manifest)
        paths = place_files(manifest, POOL)
        check_places(paths)
        for node in manifest.environment.nodes:
            check_machine(node, paths)
        check_networks(manifest)
        check_written(manifest, paths, choices)


def show(manifest: Manifest) -> None:
    """Whatever it says: nobody has checked it when it is shown."""
    command = show_export.Command(stdout=StringIO(), stderr=StringIO())
    for name, value in show_export._facts("id", manifest, None):
        line = fact(name, value, width=None)
        assert len(line.splitlines()) == 1
    command._show_nodes(manifest)
    command._show_networks(manifest)
    command._show_files(manifest)
    summarise(manifest)


def check_places(paths: dict[str, str]) -> None:
    assert len(set(paths.values())) == len(paths)
    for path in paths.values():
        assert Path(path).parent == POOL
        assert ".." not in path
        assert path.isprintable()


def emulated(architecture: str, wanted: str) -> Hypervisor:
    """What runs guests on a host without KVM."""
    return Hypervisor("qemu", EMULATOR)


def check_machine(node: Any, paths: dict[str, str]) -> None:
    definition = definition_of(node)
    adapt(definition.root, paths=paths, hypervisor_for=emulated)
    check_adapted(definition.root, set(paths.values()))
    for snapshot in node.snapshots:
        told = adapt_snapshot(snapshot, paths=paths, hypervisor_for=emulated, directory=POOL)
        root = parse(told)
        parse_snapshot(told)
        for place in root.iterfind(".//*[@file]"):
            path = place.get("file", "")
            if any(above.tag in ("cookie", "metadata") for above in place.iterancestors()):
                continue  # libvirt reads no file there
            is_read = place.tag in ("source", "memory")  # by libvirt
            is_fine = Path(path).parent == POOL if is_read else "/" not in path
            assert is_fine, f"{root.getroottree().getelementpath(place)} has {path!r}"
        for tag in ("domain", "inactiveDomain"):
            for found in root.findall(tag):
                check_adapted(found, set(paths.values()))


def check_adapted(root: etree._Element, files: set[str]) -> None:
    """With other eyes than the check's: no slash, but where something of this host stands."""
    check_definition("it", root)
    for element in root.iter():
        values = {"": element.text or "", **element.attrib}
        for key, value in values.items():
            if "/" not in str(value):
                continue
            place = f"{element.getroottree().getelementpath(element)}@{key}"
            assert (
                (element.tag == "emulator" and value == EMULATOR)
                or (element.tag == "source" and key == "file" and value in files)
                or (element.tag == "backend" and value in ENTROPY)
                or element.tag in ("title", "description", "serial", "vendor", "product", "clock")
                or (element.tag, key) in {("graphics", "passwd"), ("console", "tty")}
            ), f"{place} is {value!r}"
    allowed = {"file", None}
    assert {disk.get("type") for disk in root.iterfind("devices/disk")} <= allowed
    assert {card.get("type") for card in root.iterfind("devices/interface")} <= {"network"}
    assert not {"hostdev", "filesystem", "tpm"} & {e.tag for e in root.iterfind("devices/*")}
    assert not any(isinstance(e.tag, str) and "{" in e.tag for e in root.iter())


ENTROPY = ("/dev/random", "/dev/urandom", "/dev/hwrng")


def check_networks(manifest: Manifest) -> None:
    for l2 in manifest.environment.networks:
        if l2.network is None:
            continue
        for network in (l2.network, isolate(l2.network)):
            root = etree.fromstring(build_network(network, uuid="0" * 32))
            assert {element.tag for element in root.iter()} <= NETWORK
            parse_network(etree.tostring(root, encoding="unicode"), active=True)
            for element in root.iter():
                assert all(str(value).isprintable() for value in element.attrib.values())
    for nwfilter in nwfilters_of(manifest):
        assert parse_nwfilter(build_nwfilter(nwfilter)) == nwfilter


NETWORK = set("network name uuid forward bridge mac ip dhcp range host".split())


def check_written(manifest: Manifest, paths: dict[str, str], choices: Choices) -> None:
    target = Target("qemu:///system", "default")
    plan = Plan(manifest, choices, target, paths)
    uuids = {l2.id: str(l2.id) for l2 in manifest.environment.networks}
    with transaction.atomic():
        environment = write_rows(plan, uuids, Undo())
        for node in environment.get_nodes():
            list(node.disk_devices), list(node.interfaces), str(node.get_volumes())
        transaction.set_rollback(True)


@examples(15)
@given(data=st.data())
def test_the_definition_in_memory(data: st.DataObject) -> None:
    manifest = Manifest.from_json(json.dumps(document()).encode())
    node = next(manifest.environment.nodes)
    [snapshot] = node.snapshots
    domain = etree.tostring(parse(snapshot.xml).find("domain"), encoding="unicode")  # type: ignore[arg-type] # it has one
    told = data.draw(xml.changed(domain))
    with only_clear_errors():
        check_memory(node, snapshot, told)
        root = parse(told)
        assert not root.findall("devices/hostdev")


@examples(15)
@given(data=st.data())
def test_network_filters(data: st.DataObject) -> None:
    told = data.draw(
        xml.changed(
            "<filter name='f' chain='root'><uuid>x</uuid><filterref filter='g'/>"
            "<rule action='drop' direction='inout' priority='-950'><all/></rule></filter>"
        )
    )
    with only_clear_errors():
        nwfilter = parse_nwfilter(told)
        assert parse_nwfilter(build_nwfilter(nwfilter)) == nwfilter


@examples(15)
@given(data=st.data())
def test_networks(data: st.DataObject) -> None:
    [network] = [
        l2["network"]["xml"]
        for l2 in document()["environment"]["groups"][0]["l2_network_devices"]
        if l2["name"] == "admin"
    ]
    with only_clear_errors():
        parse_network(data.draw(xml.changed(network)), active=True)


def test_a_netmask_is_a_prefix() -> None:
    xml = "<network><name>n</name><ip address='10.1.0.1' netmask='255.255.0.0'/></network>"
    assert parse_network(xml, active=True).prefix == 16
