"""What this extension expects of the ``devops`` app, as types (prose: ``docs/architecture.rst``).

Only what fuel-devops 3.0.5's models offer is named here, so that any app with the label ``devops``
and these models can stand in for :mod:`devops_snapshot.devops`. libvirt's own objects are ``Any``:
the binding carries no types.
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
    node: Any
    group: Any

    @property
    def driver(self) -> Driver: ...

    def create_child(self, name: str) -> Volume: ...

    def define(self) -> None: ...

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
    params: dict[str, Any]
    uuid: str
    group: Any

    @property
    def driver(self) -> Driver: ...

    @property
    def interface_set(self) -> Any: ...

    @property
    def disk_devices(self) -> Iterable[DiskDevice]: ...

    def get_volumes(self) -> Any: ...


class Environment(Protocol):
    """A named set of nodes, volumes and networks."""

    id: int
    name: str

    def get_nodes(self) -> Any: ...

    def get_groups(self) -> Any: ...

    def get_address_pools(self) -> Any: ...

    def get_env_l2_network_devices(self) -> Any: ...
