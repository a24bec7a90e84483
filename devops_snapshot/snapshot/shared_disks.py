"""Disks over several paths, or of several nodes: no overlay can be put on them, they are copied.

A snapshot names a copy that was made while all guests stood still. A revert makes a copy of that
copy, which takes the place of what the guests wrote to before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lxml import etree

from ..contract import DiskDevice, Environment, Node, Volume
from ..errors import ConflictError
from ..interrupts import Heed
from .copies import make_copy, put_in_place, volume_at
from .domain_xml import disks_of, with_sources
from .metadata import SnapshotMetadata
from .nodes import nodes_with_domains
from .overlays import device_of, files_in_use
from .plan import NodePlan
from .undo import Undo

FORMAT = "raw"
"""The only one that libvirt lets be shared."""


@dataclass(frozen=True)
class FreshCopy:
    """What disks will stand on.

    :param devices: the rows of all paths, of all nodes
    """

    devices: Sequence[DiskDevice]
    domains: Sequence[Any]
    volume: Volume

    @property
    def path(self) -> str:
        return self.volume.uuid

    def attach(self) -> None:
        """Write to the database that the disks stand on it."""
        put_in_place(self.volume, self.devices)

    def discard(self) -> None:
        """Undo its making.

        :raises ConflictError: a domain stands on it, so it stays, and the database says so
        """
        for domain in self.domains:
            if self.path in files_in_use(domain):
                self.attach()
                raise ConflictError(f"{domain.name()} stands on {self.path}, which stays therefore")
        self.volume.remove()


def copy_shared(
    environment: Environment, plans: Sequence[NodePlan], name: str, undo: Undo, heed: Heed
) -> dict[str, str]:
    """Copy each shared file once; returns its path and that of its copy.

    :param plans: of guests that stand still
    """
    copies: dict[str, str] = {}
    for plan in plans:
        for disk in disks_of(plan.live):
            volume = device_of(plan.node, disk).volume if disk.shared else None
            if volume is None or volume.uuid in copies:
                continue
            heed()
            copy = make_copy(environment, volume, name)
            undo.later(copy.remove)
            copies[volume.uuid] = copy.uuid
    return copies


def on_copies(domain: etree._Element, copies: Mapping[str, str]) -> etree._Element:
    """The ``<domain>`` with its shared disks on their copies."""
    sources = {
        disk.target: (copies[disk.path], FORMAT)
        for disk in disks_of(domain)
        if disk.path is not None and disk.path in copies
    }
    return with_sources(domain, sources) if sources else domain


def fresh_copies(
    environment: Environment,
    snapshots: Sequence[tuple[Node, Any, SnapshotMetadata]],
    undo: Undo,
    heed: Heed,
) -> dict[str, FreshCopy]:
    """A copy of each copy that the snapshots name, by the path of that.

    :param snapshots: with their nodes and ``virDomain``
    """
    fresh: dict[str, FreshCopy] = {}
    for path in dict.fromkeys(disk.path for _, _, told in snapshots for disk in told.copied):
        heed()
        users = [
            (device_of(node, disk), domain)
            for node, domain, told in snapshots
            for disk in told.copied
            if disk.path == path
        ]
        copy = make_copy(environment, volume_at(environment, str(path)), snapshots[0][2].name)
        fresh[str(path)] = FreshCopy([row for row, _ in users], [d for _, d in users], copy)
        undo.later(fresh[str(path)].discard)
    return fresh


def check_together(environment: Environment, nodes: Collection[Node], paths: Iterable[str]) -> None:
    """Refuse to do with some nodes what concerns the disk of another one as well.

    :param paths: of shared disks of the nodes
    :raises ConflictError: naming the other node
    """
    shared, chosen = set(paths), {node.id for node in nodes}
    if not shared:
        return
    for node, domain in nodes_with_domains(environment):
        if node.id not in chosen and (common := shared & files_in_use(domain)):
            raise ConflictError(
                f"node {node.name!r} has a disk in common with the others: {min(common)}",
                hint="Take or revert to a snapshot of all nodes that have it",
            )


def shared_paths(domain: etree._Element) -> Iterator[str]:
    """The files behind the shared disks of a ``<domain>``."""
    return (disk.path for disk in disks_of(domain) if disk.shared and disk.path)
