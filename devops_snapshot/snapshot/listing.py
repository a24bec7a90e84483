"""The snapshots of an environment, gathered over its nodes."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from ..contract import Environment
from .metadata import snapshots_of
from .nodes import nodes_with_domains


@dataclass(frozen=True)
class ListedSnapshot:
    """One name, and the nodes that have it.

    :param created: aware UTC, of the first node
    """

    name: str
    created: datetime.datetime
    description: str
    nodes: tuple[str, ...]


def list_snapshots(environment: Environment) -> list[ListedSnapshot]:
    """All snapshots, oldest first, parents before children; internal and external ones alike."""
    found: dict[str, ListedSnapshot] = {}
    for node, domain in nodes_with_domains(environment):
        for snapshot in snapshots_of(domain).values():
            before = found.get(snapshot.name)
            found[snapshot.name] = ListedSnapshot(
                name=snapshot.name,
                created=min(before.created, snapshot.created) if before else snapshot.created,
                description=before.description if before else snapshot.description,
                nodes=tuple(sorted({*(before.nodes if before else ()), node.name})),
            )
    return sorted(found.values(), key=lambda snapshot: snapshot.created)
