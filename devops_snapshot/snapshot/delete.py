"""Dropping a snapshot's name and its memory; its layers go with them or are merged."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import Any

from ..contract import Environment, Node
from ..errors import ConflictError, NotFoundError
from ..interrupts import held_back
from ..lock import is_read
from ..models import Underway
from ..progress import Progress
from .drop import begin_deletion, drop
from .internal import check_uncovered
from .metadata import SnapshotMetadata, snapshots_of, with_descendants
from .nodes import nodes_with_domains
from .records import forget, recorded_of, remember, rows_of
from .settle import settle
from .tidy import Waiting, tidy
from .unfinished import check_no_revert, underway


@dataclass(frozen=True)
class Deletion:
    """What was done.

    :param names: of the snapshots that are gone
    :param nodes: that had one of them
    :param waiting: layers that stay for now, and why
    """

    names: tuple[str, ...]
    nodes: tuple[str, ...]
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True)
class _Target:
    """One snapshot of one node."""

    node: Node
    domain: Any
    snapshot: SnapshotMetadata


def delete(
    environment: Environment,
    name: str,
    *,
    children: bool = False,
    progress: Progress | None = None,
) -> Deletion:
    """Delete a snapshot on every node that has it.

    What another snapshot, the guest or anybody else stands on stays; children of the snapshot
    become children of its parent. Layers that no name needs any more are removed or merged at once,
    also while the guest runs. If it fails half way, it can be repeated.

    :param children: delete all that descend from it as well
    :raises NotFoundError: no node has it
    :raises ConflictError: an internal one beneath external ones; an export is reading
    """
    if is_read(environment.name):
        raise ConflictError(
            f"an export is reading the snapshots of {environment.name!r}",
            hint="Delete when it has ended",
        )
    finished = settle(environment)
    targets = _targets(environment, name, children=children)
    if not targets and name not in {*finished, *(row.name for row in rows_of(environment))}:
        raise NotFoundError(
            f"environment {environment.name!r} has no snapshot {name!r}",
            hint=f"'dos.py snapshot-list {quote(environment.name)}' shows what it has",
        )
    half_reverted = underway(environment, Underway.REVERTING)
    for target in targets:
        if target.snapshot.internal:
            check_uncovered(target.domain, target.snapshot, hint="Delete those first")
    if any(row.name in {target.snapshot.name for target in targets} for row in half_reverted):
        check_no_revert(environment)
    names = tuple(dict.fromkeys(target.snapshot.name for target in targets)) or (name,)
    with held_back() as interrupts:
        begin_deletion(environment, names)
        for gone in names:
            for target in targets:
                if target.snapshot.name == gone:
                    drop(target.node, target.domain, target.snapshot)
            forget(environment, gone)
        remember(environment)
        waits = tidy(environment, progress=progress, heed=interrupts.heed)
        remember(environment)
    nodes = tuple(dict.fromkeys(target.node.name for target in targets))
    return Deletion(names, nodes, tuple(waits))


def _targets(environment: Environment, name: str, *, children: bool) -> list[_Target]:
    """Of each node, children before parents; also what only our rows know."""
    found = []
    for node, domain in nodes_with_domains(environment):
        snapshots = recorded_of(node) | snapshots_of(domain)
        if name in snapshots:
            names = with_descendants(snapshots, name) if children else [name]
            found += [_Target(node, domain, snapshots[gone]) for gone in reversed(names)]
    return found
