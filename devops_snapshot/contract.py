"""What this extension expects of the ``devops`` app, as types (prose: ``docs/architecture.rst``).

Only what fuel-devops 3.0.5's models offer is named here, so that any app with the label ``devops``
and these models can stand in for :mod:`devops_snapshot.devops`. libvirt's own objects are ``Any``:
the binding carries no types. So are query sets and the sets of rows that refer to a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol


class Pool(Protocol):
    """A storage pool and the libvirt that has it."""

    @property
    def connection_string(self) -> str: ...

    @property
    def storage_pool_name(self) -> str: ...

    @property
    def conn(self) -> Any:
        """The shared ``virConnect``."""


class Driver(Pool, Protocol):
    """What controls the nodes of a group."""

    id: int
    name: str
    params: dict[str, Any]


class Volume(Protocol):
    """One image file; ``uuid`` is libvirt's volume key, that is, its path."""

    id: int
    name: str
    params: dict[str, Any]
    uuid: str
    format: str
    backing_store: Volume | None
    backing_store_id: int | None
    node: Node | None
    group: Group | None

    @property
    def driver(self) -> Driver: ...

    def create_child(self, name: str) -> Volume:
        """A row of the same node that lies on this one; :meth:`define` makes the file."""

    def define(self) -> None:
        """Make the file, an empty image on ``backing_store``, and save its path in ``uuid``."""

    def remove(self) -> None:
        """Delete the file and the row."""

    def delete(self) -> object:
        """Delete the row alone."""

    def save(self) -> None: ...


class DiskDevice(Protocol):
    """Where a volume is attached to a node."""

    id: int
    device: str
    target_dev: str
    volume: Volume | None

    def save(self) -> None: ...


class Node(Protocol):
    """A virtual machine; ``uuid`` is its domain's."""

    id: int
    name: str
    role: str | None
    params: dict[str, Any]
    uuid: str
    group: Group

    @property
    def driver(self) -> Driver: ...

    @property
    def interface_set(self) -> Any: ...

    @property
    def networkconfig_set(self) -> Any: ...

    @property
    def diskdevice_set(self) -> Any: ...

    @property
    def disk_devices(self) -> Iterable[DiskDevice]: ...

    def get_volumes(self) -> Any: ...


class Interface(Protocol):
    """A network card of a node; if it has ``unblock()``, a revert calls that."""

    id: int
    mac_address: str
    params: dict[str, Any]
    node: Node
    l2_network_device: L2NetworkDevice | None

    @property
    def address_set(self) -> Any: ...


class L2NetworkDevice(Protocol):
    """A network; ``params["uuid"]`` is libvirt's. If it has ``unblock()``, a revert calls that."""

    id: int
    name: str
    params: dict[str, Any]
    group: Group

    @property
    def driver(self) -> Driver: ...

    def start(self) -> None:
        """Let it be up, with its VLANs, whether it is already or not."""

    def destroy(self) -> None:
        """Let it be down, without its VLANs, whether it is already or not."""

    def save(self) -> None: ...


class Group(Protocol):
    """The nodes, networks and volumes of one driver."""

    id: int
    name: str
    driver: Driver
    environment: Environment

    def get_nodes(self) -> Any: ...

    def get_volumes(self) -> Any:
        """Those that are no node's."""

    def get_l2_network_devices(self) -> Any: ...

    def get_network_pools(self) -> Any: ...


class Environment(Protocol):
    """A named set of nodes, volumes and networks."""

    id: int
    name: str

    def get_nodes(self) -> Any: ...

    def get_groups(self) -> Any: ...

    def get_address_pools(self) -> Any: ...

    def get_env_l2_network_devices(self) -> Any: ...

    def delete(self) -> object:
        """Delete the row, and those that belong to it."""
