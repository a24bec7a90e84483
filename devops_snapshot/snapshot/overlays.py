"""Overlays: the writable layer on top of layers that no guest may write any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import libvirt

from ..contract import DiskDevice, Node, Volume
from ..errors import ConflictError, NotFoundError
from ..hypervisor import asking
from .domain_xml import DomainDisk, parse
from .layers import deepest

MAX_ROW_NAME = 250
"""Characters: a row takes 255, and a number may follow."""


@dataclass(frozen=True)
class Overlay:
    """A fresh layer for one disk of a node.

    :param target: ``sda`` ...
    :param device: the row that attaches the disk
    :param frozen: the volume that stays below
    :param volume: the new, empty volume
    """

    target: str
    device: DiskDevice
    frozen: Volume
    volume: Volume

    @property
    def path(self) -> str:
        return self.volume.uuid

    def attach(self) -> None:
        """Write to the database that the disk stands on it."""
        self.device.volume = self.volume
        self.device.save()

    def discard(self, domain: Any) -> None:
        """Undo its making.

        :raises ConflictError: the domain stands on it, so it stays, and the database says so
        """
        if self.path in files_in_use(domain):
            self.attach()
            raise ConflictError(f"{domain.name()} stands on {self.path}, which stays therefore")
        self.volume.remove()


def files_in_use(domain: Any) -> frozenset[str]:
    """Every file that the domain's disks stand on, now or after its next start."""
    with asking(f"reading the definition of {domain.name()}"):
        documents = [domain.XMLDesc(0), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)]
    sources = (
        source for xml in documents for source in parse(xml).iterfind("./devices/disk//source")
    )
    return frozenset(source.get("file", "") for source in sources)


def device_of(node: Node, disk: DomainDisk) -> DiskDevice:
    """The row behind a disk of the node's domain.

    :raises NotFoundError: database and libvirt disagree
    """
    for device in node.disk_devices:
        if device.target_dev == disk.target and device.volume is not None:
            return device
    raise NotFoundError(
        f"disk {disk.target} of node {node.name!r} ({disk.path}) has no volume in the database"
    )


def volume_at_path(node: Node, path: str) -> Volume:
    """The node's volume row of that file.

    :raises NotFoundError: the database knows no such volume
    """
    for volume in node.get_volumes():
        if volume.uuid == path:
            found: Volume = volume
            return found
    raise NotFoundError(f"the database knows no volume of node {node.name!r} at {path}")


def make_overlay(*, node: Node, device: DiskDevice, frozen: Volume, suffix: str) -> Overlay:
    """Create an empty overlay on ``frozen``, as a row and as a file in the pool.

    Named ``<deepest volume>.<suffix>`` as fuel-devops does; where that is taken (two disks of a
    node on one base image), a number follows. What is below may be raw, an overlay is always qcow2.
    """
    volume = frozen.create_child(
        name=free_name(node, f"{deepest(frozen).name}.{suffix}"[:MAX_ROW_NAME])
    )
    volume.format = "qcow2"
    try:
        volume.define()
    except BaseException:
        volume.remove()
        raise
    return Overlay(target=device.target_dev, device=device, frozen=frozen, volume=volume)


def free_name(node: Node, name: str) -> str:
    """The name for a volume of the node; where it is taken, a number follows."""
    taken = {volume.name for volume in node.get_volumes()}
    if name not in taken:
        return name
    return next(
        candidate
        for candidate in (f"{name}-{number}" for number in range(len(taken) + 1))
        if candidate not in taken
    )
