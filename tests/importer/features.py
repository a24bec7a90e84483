"""Environments of templates that use all that the driver can be told, with data on their disks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu
from lxml import etree

from tests.devops.libvirt.semantic import said
from tests.devops.test_features import TEMPLATES
from tests.journey.scenario import Place

SECURE = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE
POOL = Path("/var/lib/libvirt/same/pool")
"""Of a storage pool that all hosts have at the same path, as hosts have outside of tests."""
POOL_XML = f"<pool type='dir'><name>same</name><target><path>{POOL}</path></target></pool>"
WHERE = "1M 64k"
"""Where disks are written to."""


@dataclass(frozen=True)
class Lab(Place):
    """A host with that pool, and a bridge of its own."""

    env: dict[str, str] = field(default_factory=lambda: {"STORAGE_POOL_NAME": "same"})

    @property
    def pool(self) -> Path:
        """The pool's directory, seen from outside."""
        return self.host.directory / "lib" / POOL.relative_to("/var/lib/libvirt")

    @contextmanager
    def ready(self) -> Iterator[None]:
        self.pool.mkdir(parents=True)
        self.host.connection.storagePoolDefineXML(POOL_XML).create()
        self.host.run(["ip", "link", "add", "br-lan", "type", "bridge"])
        try:
            yield
        finally:
            self.host.run(["ip", "link", "del", "br-lan"])
            self.host.clean()
            shutil.rmtree(self.pool.parent)

    def is_empty(self) -> bool:
        return super().is_empty() and not list(self.pool.iterdir()) and not filters(self)

    def make(self, name: str, template: str, **variables: str) -> None:
        """With networks that are up, and nodes that are off."""
        variables |= {"ENV_NAME": name, "HUGEPAGES": "false"}
        self.dos("create-env", str(TEMPLATES / template), **variables)
        for network in self.host.connection.listAllNetworks():
            if network.name().startswith(f"{name}_") and not network.isActive():
                network.create()

    def write(self, disk: str, number: int) -> None:
        """Onto a disk (``DOMAIN TARGET``); QEMU does so if the domain is on."""
        domain, file = self._disk(disk)
        line = f"write -q -P {number} {WHERE}"
        if domain.isActive():
            flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
            command = f'qemu-io -d {_device(domain, file)} "{line}"'
            assert libvirt_qemu.qemuMonitorCommand(domain, command, flags) == ""
        else:
            self._qemu_io(file, line)

    def holds(self, disk: str, number: int) -> bool:
        _, file = self._disk(disk)
        return self._qemu_io(file, f"read -q -P {number} {WHERE}", "-r", "-U") == ""

    def _disk(self, disk: str) -> tuple[libvirt.virDomain, str]:
        """A domain, and the file that one of its disks stands on."""
        name, target = disk.split()
        domain = self.host.connection.lookupByName(name)
        disks = etree.fromstring(domain.XMLDesc()).xpath(f"devices/disk[target/@dev='{target}']")
        return domain, str(disks[0].find("source").get("file"))

    def _qemu_io(self, file: str, line: str, *options: str) -> str:
        with (self.pool / Path(file).name).open("rb") as image:
            image_format = "qcow2" if image.read(4) == b"QFI\xfb" else "raw"
        command = ["qemu-io", *options, "-f", image_format, "-c", line, file]
        return self.host.run(command).stdout


def _device(domain: libvirt.virDomain, file: str) -> str:
    """QEMU's name of a device that has a file open."""
    answer = libvirt_qemu.qemuMonitorCommand(domain, '{"execute":"query-block"}', 0)
    devices = json.loads(answer)["return"]
    return next(str(d["qdev"]) for d in devices if d.get("inserted", {}).get("file") == file)


@dataclass(frozen=True)
class Seen:
    """An environment, alone on a host: its rows, and what libvirt has of it."""

    records: dict[str, Any]
    networks: dict[str, Any]
    filters: dict[str, Any]
    domains: dict[str, Any]

    @classmethod
    def at(cls, place: Place, name: str) -> Seen:
        return cls(
            _records(place, name),
            *(
                {key: value for key, value in found(place).items() if key.startswith(f"{name}_")}
                for found in (networks, filters, domains)
            ),
        )


def _records(place: Place, name: str) -> dict[str, Any]:
    """A disk stands on a layer, or on a copy, that was made on its host."""
    records = place.records(name)
    now = {(node, volume) for node, volume, _ in records["disks"]}
    for node, volume, _, params in records["node_volumes"]:
        if (node, volume) in now:
            for fresh in ("uuid", "serial", "wwn"):
                del params[fresh]
    return records


def filters(place: Place) -> dict[str, Any]:
    found = place.host.connection.listAllNWFilters()
    return {one.name(): said(one.XMLDesc(), without=("uuid", "@chain")) for one in found}


def domains(place: Place) -> dict[str, Any]:
    """Persistent definitions, but for the file of shared disks: each revert makes another."""
    return {
        domain.name(): said(domain.XMLDesc(SECURE), without=["devices/disk[shareable]/source"])
        for domain in place.host.connection.listAllDomains()
    }


def networks(place: Place) -> dict[str, Any]:
    """But for the names of bridges, which are the host's own if libvirt has made them."""
    return {
        network.name(): said(
            network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE),
            without=("bridge/@name[starts-with(., 'virbr')]",),
        )
        for network in place.host.connection.listAllNetworks()
    }


def vlans(place: Place) -> list[tuple[str, str, str]]:
    """Tagged devices: the text that says whose they are, the tag, the network they lead to."""
    links = json.loads(place.host.run(["ip", "-json", "-details", "link", "show"]).stdout)
    bridges = {n.bridgeName(): n.name() for n in place.host.connection.listAllNetworks()}
    return sorted(
        (
            link.get("ifalias", ""),
            link["ifname"].rpartition(".")[2],
            bridges.get(link.get("master"), ""),
        )
        for link in links
        if link.get("linkinfo", {}).get("info_kind") == "vlan"
    )


def knows_vlans(place: Place) -> bool:
    """Whether the kernel of this machine does; without, an import warns of what is missing."""
    made = place.host.run(
        ["ip", "link", "add", "link", "br-lan", "name", "try.1", "type", "vlan", "id", "1"],
        check=False,
    )
    place.host.run(["ip", "link", "del", "try.1"], check=False)
    return made.returncode == 0
