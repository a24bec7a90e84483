"""Environments of any shape and any names, as they could have been exported."""

from __future__ import annotations

import datetime
import uuid
from dataclasses import dataclass
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from lxml import etree

from devops_snapshot.devops.libvirt import names
from devops_snapshot.manifest import document as d
from devops_snapshot.snapshot.metadata import build_snapshot
from devops_snapshot.snapshot.pool import fitting

TOKEN = "zq"
"""In the environment's name, and in no other."""

POOL = "/srv/pool"
_NOW = datetime.datetime(2026, 11, 22, 12, 0, 0)
_LIBVIRT = "devops.driver.libvirt.libvirt_driver:Libvirt"
_LETTERS = "abcdefghij0123456789-_. é&<"


def words(longest: int = 60) -> st.SearchStrategy[str]:
    """Names of anything, none of which has :data:`TOKEN`."""
    return st.text(_LETTERS, min_size=1, max_size=longest).filter(
        lambda name: name.strip() == name and not name.startswith(".")
    )


def environment_names() -> st.SearchStrategy[str]:
    """Names with :data:`TOKEN`, short ones and long ones."""
    return st.builds(lambda before, after: before + TOKEN + after, words(40), words(40))


@dataclass(frozen=True)
class _Plan:
    """What a manifest is made from.

    :param parents: of each snapshot: the index of an earlier one, or -1
    :param states: likewise
    """

    name: str
    group: str
    nodes: list[str]
    networks: list[str]
    snapshots: list[str]
    parents: list[int]
    states: list[str]
    shared: bool


@st.composite
def manifests(draw: st.DrawFn, *, least_snapshots: int = 0) -> d.Manifest:
    """Nodes on a common base image, each with a tree of snapshots and a cdrom."""
    count = draw(st.integers(least_snapshots, 4))
    plan = _Plan(
        name=draw(environment_names()),
        group=draw(words(20)),
        nodes=draw(st.lists(words(), min_size=1, max_size=3, unique=True)),
        networks=draw(st.lists(words(), min_size=1, max_size=2, unique=True)),
        snapshots=draw(st.lists(words(30), min_size=count, max_size=count, unique=True)),
        parents=[draw(st.integers(-1, index - 1)) for index in range(count)],
        states=[draw(st.sampled_from(["running", "paused", "shutoff"])) for _ in range(count)],
        shared=draw(st.booleans()),
    )
    manifest = _manifest(plan)
    paths = [file.path for file in manifest.files]
    assume(len(paths) == len(set(paths)))  # fuel-devops's rules let some names fall together
    return manifest


def _uuid(*parts: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(parts)))


def _mac(node: int, card: int) -> str:
    return f"64:ab:cd:ef:{node:02x}:{card:02x}"


def _file(plan: _Plan, owner: str, volume: str) -> str:
    return f"{POOL}/{names.volume_name(plan.name, owner, volume)}"


def _base(plan: _Plan) -> str:
    return f"{POOL}/shared.qcow2" if plan.shared else _file(plan, plan.group, "base")


def _memory(plan: _Plan, node: str, snapshot: int) -> str | None:
    if plan.states[snapshot] == "shutoff":
        return None
    name = f"snapshot-memory-{plan.name}_{node}.{plan.snapshots[snapshot]}"
    return f"{POOL}/{fitting(name)}"


def _overlay(plan: _Plan, node: str, snapshot: int) -> str:
    """What a snapshot has put on top of what it froze."""
    return _file(plan, node, f"base.{plan.snapshots[snapshot]}")


def _frozen(plan: _Plan, node: str, snapshot: int) -> str:
    parent = plan.parents[snapshot]
    return _file(plan, node, "system") if parent < 0 else _overlay(plan, node, parent)


def _layers(plan: _Plan, node: str) -> dict[str, str]:
    """The overlays that were exported: path to what is below."""
    layers = {_file(plan, node, "system"): _base(plan)}
    for index in range(len(plan.snapshots)):
        layers.setdefault(_frozen(plan, node, index), _frozen_below(plan, node, index))
    return layers


def _frozen_below(plan: _Plan, node: str, snapshot: int) -> str:
    parent = plan.parents[snapshot]
    return _base(plan) if parent < 0 else _frozen(plan, node, parent)


def _definition(plan: _Plan, node: str, system: str) -> etree._Element:
    number = plan.nodes.index(node)
    domain = names.domain_name(plan.name, node)
    root = etree.Element("domain", type="kvm")
    etree.SubElement(root, "name").text = domain
    etree.SubElement(root, "uuid").text = _uuid("domain", plan.name, node)
    note = "{urn:devops-snapshot:saved}saved"
    etree.SubElement(etree.SubElement(root, "metadata"), note, file=f"{POOL}/{domain}.memory")
    system_element = etree.SubElement(root, "os")
    machine = etree.SubElement(system_element, "type", arch="x86_64", machine="pc-i440fx-99.0")
    machine.text = "hvm"
    cpu = etree.SubElement(root, "cpu", mode="custom", match="exact", check="full")
    etree.SubElement(cpu, "model", fallback="forbid").text = "EPYC-Genoa"
    etree.SubElement(cpu, "feature", policy="require", name="topoext")
    devices = etree.SubElement(root, "devices")
    _disk(devices, "sda", "disk", "qcow2", system, _base(plan))
    _disk(devices, "sdb", "cdrom", "raw", _file(plan, node, "iso"), None)
    for card, network in enumerate(plan.networks):
        interface = etree.SubElement(devices, "interface", type="network")
        etree.SubElement(interface, "mac", address=_mac(number, card))
        etree.SubElement(interface, "source", network=names.network_name(plan.name, network))
    channel = etree.SubElement(devices, "channel", type="unix")
    path = f"/var/lib/libvirt/qemu/channel/target/domain-1-{domain}/agent"
    etree.SubElement(channel, "source", mode="bind", path=path)
    return root


def _disk(
    devices: etree._Element, target: str, device: str, form: str, path: str, below: str | None
) -> None:
    disk = etree.SubElement(devices, "disk", type="file", device=device)
    etree.SubElement(disk, "driver", name="qemu", type=form)
    etree.SubElement(disk, "source", file=path)
    if below is not None:
        chain = etree.SubElement(disk, "backingStore", type="file")
        etree.SubElement(chain, "source", file=below)
    etree.SubElement(disk, "target", dev=target, bus="virtio")
    if device == "cdrom":
        etree.SubElement(disk, "readonly")


def _snapshot(plan: _Plan, node: str, index: int) -> d.Snapshot:
    parent = plan.parents[index]
    parent_name = None if parent < 0 else plan.snapshots[parent]
    definition = _definition(plan, node, _frozen(plan, node, index))
    memory = _memory(plan, node, index)
    xml = build_snapshot(
        name=plan.snapshots[index],
        description="",
        parent=parent_name,
        created=1_700_000_000 + index,
        state=plan.states[index],
        memory_path=memory,
        overlays={"sda": _overlay(plan, node, index)},
        domain=definition,
        inactive=definition,
    )
    return d.Snapshot(
        name=plan.snapshots[index],
        parent=parent_name,
        description="",
        created=_NOW.replace(tzinfo=datetime.timezone.utc),
        state=plan.states[index],  # type: ignore[arg-type] # one of the three
        memory=memory,
        internal=False,
        xml=xml,
    )


def _node(plan: _Plan, node: str) -> d.Node:
    number = plan.nodes.index(node)
    first = 100 * (number + 1)
    layers = _layers(plan, node)
    ids = {path: first + index for index, path in enumerate(layers)}
    volumes = [
        _volume(
            ids[path], _row_name(plan, node, path), path, ids.get(below, None if plan.shared else 1)
        )
        for path, below in layers.items()
    ]
    iso = _volume(first + 50, "iso", _file(plan, node, "iso"), None, form="raw")
    now = len(plan.snapshots) - 1
    system = _file(plan, node, "system") if now < 0 else _frozen(plan, node, now)
    return d.Node(
        id=number,
        name=node,
        role="slave",
        created=_NOW,
        params={"uuid": _uuid("domain", plan.name, node), "_class": f"{_LIBVIRT}Node"},
        interfaces=tuple(
            d.Interface(
                id=10 * number + card,
                label=f"eth{card}",
                mac_address=_mac(number, card),
                type="network",
                model="virtio",
                l2_network_device=card,
                params={},
                addresses=(f"10.109.{card}.{number + 2}",),
            )
            for card in range(len(plan.networks))
        ),
        network_configs=(),
        volumes=(*volumes, iso),
        disks=(
            d.DiskDevice(id=first, volume=ids[system], params={"target_dev": "sda"}),
            d.DiskDevice(id=first + 1, volume=first + 50, params={"target_dev": "sdb"}),
        ),
        domain_xml=etree.tostring(_definition(plan, node, system), encoding="unicode"),
        snapshots=tuple(_snapshot(plan, node, index) for index in range(len(plan.snapshots))),
    )


def _row_name(plan: _Plan, node: str, path: str) -> str:
    if path == _file(plan, node, "system"):
        return "system"
    taken = [i for i in range(len(plan.snapshots)) if _overlay(plan, node, i) == path]
    return f"base.{plan.snapshots[taken[0]]}"


def _volume(number: int, name: str, path: str, below: int | None, form: str = "qcow2") -> d.Volume:
    params: dict[str, Any] = {"uuid": path, "format": form, "_class": f"{_LIBVIRT}Volume"}
    if name == "system" and below is None:
        params["shared_backing_store_name"] = "shared.qcow2"
    return d.Volume(id=number, name=name, created=_NOW, backing_store=below, params=params)


def _network(plan: _Plan, card: int) -> d.Network:
    name = names.network_name(plan.name, plan.networks[card])
    identity = _uuid("network", plan.name, plan.networks[card])
    hosts = tuple(
        d.DhcpHost(mac=_mac(number, card), ip=f"10.109.{card}.{number + 2}")
        for number in range(len(plan.nodes))
    )
    root = etree.Element("network")
    etree.SubElement(root, "name").text = name
    etree.SubElement(root, "uuid").text = identity
    dhcp = etree.SubElement(etree.SubElement(root, "ip", address=f"10.109.{card}.1"), "dhcp")
    for host in hosts:
        etree.SubElement(dhcp, "host", mac=host.mac, ip=host.ip)
    return d.Network(
        name=name,
        uuid=identity,
        bridge=f"virbr{card}",
        mac="52:54:00:dd:17:c5",
        forward_mode="nat",
        stp=True,
        delay=0,
        ip=f"10.109.{card}.1",
        prefix=24,
        dhcp_start=f"10.109.{card}.2",
        dhcp_end=f"10.109.{card}.9",
        dhcp_hosts=hosts,
        active=True,
        xml=etree.tostring(root, encoding="unicode"),
    )


def _manifest(plan: _Plan) -> d.Manifest:
    group = d.Group(
        id=1,
        name=plan.group,
        created=_NOW,
        driver=d.Driver(
            id=1,
            name="devops.driver.libvirt",
            created=_NOW,
            params={"_class": f"{_LIBVIRT}Driver"},
        ),
        l2_network_devices=tuple(
            d.L2NetworkDevice(
                id=card,
                name=name,
                created=_NOW,
                address_pool=card,
                params={
                    "uuid": _uuid("network", plan.name, name),
                    "_class": f"{_LIBVIRT}L2NetworkDevice",
                },
                network=_network(plan, card),
            )
            for card, name in enumerate(plan.networks)
        ),
        network_pools=(),
        volumes=() if plan.shared else (_volume(1, "base", _base(plan), None),),
        nodes=tuple(_node(plan, node) for node in plan.nodes),
    )
    pools = tuple(
        d.AddressPool(id=c, name=name, net=f"10.109.{c}.0/24", created=_NOW, params={})
        for c, name in enumerate(plan.networks)
    )
    return d.Manifest(
        environment=d.Environment(
            id=1, name=plan.name, created=_NOW, address_pools=pools, groups=(group,)
        ),
        files=tuple(_files(plan)),
        snapshots=tuple(plan.snapshots[-1:]),
        current=plan.snapshots[-1] if plan.snapshots else None,
        definitions_only=not plan.snapshots,
        freeze_seconds=1.5,
        host=d.Host(
            name="alpha", architecture="x86_64", cpu_xml="", libvirt_version=0, qemu_version=0
        ),
        provenance=d.Provenance(
            tool="made up", user="root", created=_NOW.replace(tzinfo=datetime.timezone.utc)
        ),
    )


def _files(plan: _Plan) -> list[d.File]:
    files = [d.File(path=_base(plan), role=d.FileRole.BASE, format="qcow2", size=1)]
    for node in plan.nodes:
        files.append(
            d.File(path=_file(plan, node, "iso"), role=d.FileRole.BASE, format="raw", size=1)
        )
        files += [
            d.File(path=path, role=d.FileRole.OVERLAY, format="qcow2", size=1, backing=below)
            for path, below in _layers(plan, node).items()
        ]
        for index in range(len(plan.snapshots)):
            memory = _memory(plan, node, index)
            if memory is not None:
                files.append(d.File(path=memory, role=d.FileRole.MEMORY, format="memory", size=1))
    return files
