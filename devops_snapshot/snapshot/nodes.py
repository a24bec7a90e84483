"""The nodes of an environment that there can be snapshots of."""

from __future__ import annotations

from typing import Any

from ..contract import Environment, Node
from ..hypervisor import domain_of


def nodes_with_domains(environment: Environment) -> list[tuple[Node, Any]]:
    """Every node that was ever defined in libvirt, with its ``virDomain``.

    Nodes that were not, or that another driver controls, are passed over.

    :raises NotFoundError: a domain is gone
    """
    return [
        (node, domain_of(node))
        for node in environment.get_nodes()
        if node.params.get("uuid") and "connection_string" in node.driver.params
    ]
