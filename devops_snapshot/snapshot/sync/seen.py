"""One look at a node: what the database, libvirt and its storage pool have of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import libvirt

from ...contract import Environment, Node, Volume
from ...errors import NotFoundError
from ...hypervisor import asking, domain_of
from .. import pool
from ..domain_xml import DomainDisk, disks_of, parse
from ..images import Image, images_of
from ..layers import chain_of
from ..metadata import SnapshotMetadata, current_snapshot, snapshots_of
from ..records import recorded_of
from .finding import Finding, Repair


@dataclass(frozen=True)
class Seen:
    """What was seen; all that is libvirt's is empty where the domain is gone.

    :param disks: disk target to the disk as the domain has it now
    :param written: files that its disks write to, now or after the next start
    :param known: snapshots as libvirt has them
    :param current: the one that "now" descends from, says libvirt
    :param recorded: external snapshots as our rows have them
    :param volumes: the node's rows by path
    :param images: the files of its storage pool by path
    """

    environment: Environment
    node: Node
    domain: Any | None
    disks: Mapping[str, DomainDisk]
    written: frozenset[str]
    known: Mapping[str, SnapshotMetadata]
    current: str | None
    recorded: Mapping[str, SnapshotMetadata]
    volumes: Mapping[str, Volume]
    images: Mapping[str, Image]

    @property
    def external(self) -> dict[str, SnapshotMetadata]:
        """Those that libvirt knows, without those that lie inside the images."""
        return {name: snapshot for name, snapshot in self.known.items() if not snapshot.internal}

    def is_there(self, path: str) -> bool:
        """Whether there is such a file."""
        return path in self.images or pool.is_there(self.node.driver, path)

    def row_at(self, path: str) -> Volume | None:
        """The row of a file: one of the node, or one that those stand on."""
        if path in self.volumes:
            return self.volumes[path]
        below = (layer for volume in self.volumes.values() for layer in chain_of(volume))
        return next((layer for layer in below if layer.uuid == path), None)

    def finding(
        self,
        kind: str,
        what: str,
        remedy: str,
        repair: Repair | None = None,
    ) -> Finding:
        """A difference of this node."""
        return Finding(self.environment.name, self.node.name, kind, what, remedy, repair)


def look(environment: Environment) -> list[Seen]:
    """All nodes of the environment that were ever defined in libvirt.

    :raises DevopsError: libvirt does not answer, or a storage pool is gone
    """
    nodes = (node for node in environment.get_nodes() if node.params.get("uuid"))
    return [
        _look_at(environment, node) for node in nodes if "connection_string" in node.driver.params
    ]


def _look_at(environment: Environment, node: Node) -> Seen:
    domain = None
    with suppress(NotFoundError):
        domain = domain_of(node)
    definitions = list(_definitions(domain)) if domain is not None else []
    return Seen(
        environment=environment,
        node=node,
        domain=domain,
        disks={disk.target: disk for disk in definitions[0]} if definitions else {},
        written=frozenset(
            disk.path for disks in definitions for disk in disks if disk.writable and disk.path
        ),
        known=snapshots_of(domain) if domain is not None else {},
        current=current_snapshot(domain) if domain is not None else None,
        recorded=recorded_of(node),
        volumes={volume.uuid: volume for volume in node.get_volumes() if volume.uuid},
        images=images_of(node.driver),
    )


def _definitions(domain: Any) -> Iterator[tuple[DomainDisk, ...]]:
    """The disks it has now, and those it will have after the next start."""
    with asking(f"reading the definition of {domain.name()}"):
        for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            yield disks_of(parse(domain.XMLDesc(flags)))
