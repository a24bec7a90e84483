"""What the checks look at: an export as the user wants it, and the host it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import libvirt

from ...hypervisor import asking
from ...manifest import Manifest
from ...manifest.check import definition_of
from ...manifest.definition import Definition
from ...manifest.document import Network
from ...manifest.reading import parse_network
from ..choices import Choices, Ending
from ..target import Target


@dataclass(frozen=True)
class InCache:
    """What a layer cache needs that lies on another file system than the storage pool.

    :param where: its directory
    :param to_write: bytes that have still to come
    :param free: bytes, with those that it can give up
    """

    where: str
    to_write: int
    free: int


@dataclass(frozen=True)
class Room:
    """What the files take.

    :param to_write: bytes in the storage pool, and in the layer cache on the same file system
    :param spare: bytes that the layer cache gives up there if need be
    :param in_cache: where that lies on another one
    """

    to_write: int
    spare: int = 0
    in_cache: InCache | None = None


@dataclass(frozen=True)
class Scene:
    """Everything a check may ask for.

    :param manifest: as the choices have it: with its new name, the chosen nodes ...
    :param paths: path of each exported file to its path here
    :param in_place: exported files that are here already and will be used as they are
    :param room: that the files will take
    """

    manifest: Manifest
    choices: Choices
    target: Target
    paths: Mapping[str, str]
    in_place: frozenset[str]
    room: Room

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """The domains to be defined, by the names of the nodes."""
        return {node.name: definition_of(node) for node in self.manifest.environment.nodes}

    @cached_property
    def networks(self) -> list[Network]:
        """The libvirt networks to be made."""
        devices = self.manifest.environment.networks
        return [device.network for device in devices if device.network is not None]

    @cached_property
    def domains_here(self) -> list[Any]:
        with asking("listing domains"):
            return list(self.target.conn.listAllDomains())

    @cached_property
    def networks_here(self) -> list[Network]:
        with asking("listing networks"):
            return [
                parse_network(
                    network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE),
                    active=bool(network.isActive()),
                )
                for network in self.target.conn.listAllNetworks()
            ]

    @property
    def has_memory(self) -> bool:
        """Whether guests come back from memory, which binds them to CPU and machine type."""
        nodes = self.manifest.environment.nodes
        return any(snapshot.memory for node in nodes for snapshot in node.snapshots)

    @property
    def starts_guests(self) -> bool:
        """Whether guests are to run when the environment is here."""
        ending = self.choices.ending
        return ending is not Ending.DEFINE_ONLY and (self.has_memory or ending is Ending.START)
