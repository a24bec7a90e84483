"""Asking libvirt for a node's domain, and what it is doing."""

from __future__ import annotations

import enum
import json
from contextlib import AbstractContextManager
from typing import Any

import libvirt
import libvirt_qemu

from .connection import found, refused_as
from .contract import Node
from .errors import HypervisorError, NotFoundError, UnsupportedError


class RunState(str, enum.Enum):
    """What a snapshot has to know of a domain's state; the values are libvirt's words."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUTOFF = "shutoff"


_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: RunState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: RunState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: RunState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF: RunState.SHUTOFF,
    libvirt.VIR_DOMAIN_CRASHED: RunState.SHUTOFF,
}


def asking(what: str) -> AbstractContextManager[None]:
    """Turn libvirt's refusal into one line: what was asked for, and libvirt's reason.

    :raises ConflictError: something of that name is there already
    :raises HypervisorError: any other refusal
    """
    return refused_as(f"{what} failed")


def domain_of(node: Node, connection: Any = None) -> Any:
    """The node's ``virDomain``, over ``connection`` or else the driver's shared one.

    :raises NotFoundError: the node was never defined, or its domain is gone
    :raises UnsupportedError: the node's driver is not libvirt's
    """
    if connection is None:
        connection = connection_of(node)
    uuid = node.params.get("uuid")
    if not uuid:
        raise NotFoundError(f"node {node.name!r} has never been defined in libvirt")
    with asking(f"looking up node {node.name!r}"):
        domain = found(connection.lookupByUUIDString, uuid, libvirt.VIR_ERR_NO_DOMAIN)
    if domain is None:
        raise NotFoundError(
            f"the domain of node {node.name!r} (UUID {uuid}) is not there on "
            f"{node.driver.connection_string}",
            hint="'dos.py sync' tells what can be repaired",
        )
    return domain


def connection_of(node: Node) -> Any:
    """The shared connection of the node's driver.

    :raises UnsupportedError: the driver has no libvirt connection (baremetal, for example)
    """
    driver = node.driver
    if "connection_string" not in driver.params:
        raise UnsupportedError(
            f"node {node.name!r} belongs to driver {driver.name!r}, "
            "which has no disks or memory that could be snapshotted or exported",
            hint="Only nodes of devops.driver.libvirt can",
        )
    with asking(f"connecting to {driver.connection_string}"):
        return driver.conn


def run_state(domain: Any) -> RunState:
    """What the domain is doing.

    :raises HypervisorError: it is in transition (shutting down, suspended by its own power
        management)
    """
    with asking(f"asking for the state of {domain.name()}"):
        state = domain.state()[0]
    if state not in _STATES:
        raise HypervisorError(
            f"domain {domain.name()} is neither running, paused nor shut off (state {state})",
            hint="Wait for it, or stop it with 'dos.py node-destroy'",
        )
    return _STATES[state]


def is_postmigrate(domain: Any) -> bool:
    """Whether the guest has not run since its memory was last saved.

    QEMU refuses a second save of such a guest ("paused due to previous migration"), and its block
    nodes are inactive until it resumes.
    """
    with asking(f"asking QEMU for the status of {domain.name()}"):
        answer = libvirt_qemu.qemuMonitorCommand(domain, '{"execute":"query-status"}', 0)
    return bool(json.loads(answer)["return"]["status"] == "postmigrate")
