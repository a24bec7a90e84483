"""Which layers are still needed, and the removal of those that are not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps

from ..contract import Node, Volume
from .metadata import snapshots_of
from .overlays import files_in_use


def chain_of(volume: Volume) -> Iterable[Volume]:
    """The volume and everything below it, as the database has it."""
    step: Volume | None = volume
    while step is not None:
        yield step
        step = step.backing_store


def needed_volumes(node: Node, domain: Any, *, without: str | None = None) -> set[int]:
    """Ids of all volumes that the node or a snapshot of its domain stands on.

    :param without: a snapshot that does not count
    """
    paths = set(files_in_use(domain))
    for snapshot in snapshots_of(domain).values():
        if snapshot.name != without:
            paths |= {str(disk.path) for disk in snapshot.snapshotted}
    tops = [volume for volume in node.get_volumes() if volume.uuid in paths]
    tops += [device.volume for device in node.disk_devices if device.volume is not None]
    return {layer.id for top in tops for layer in chain_of(top)}


def remove_unneeded(
    node: Node, domain: Any, candidates: Sequence[Volume], *, without: str | None = None
) -> list[str]:
    """Remove overlays that nothing needs any more, from the top down; returns their names.

    Only the candidates and what they stand on are looked at, and only overlays of this node: a
    volume without backing store, or a group's base image, stays whatever happens.

    :param without: a snapshot that does not count
    """
    needed = needed_volumes(node, domain, without=without)
    own = {volume.id for volume in node.get_volumes()}
    layers = {layer.id: layer for top in candidates for layer in chain_of(top)}
    removed = []
    for layer in sorted(layers.values(), key=_depth, reverse=True):
        is_overlay = layer.backing_store is not None and layer.id in own
        if is_overlay and layer.id not in needed and not _carries_another(layer):
            removed.append(layer.name)
            layer.remove()
    return removed


def _depth(volume: Volume) -> int:
    return sum(1 for _ in chain_of(volume))


def _carries_another(volume: Volume) -> bool:
    """Whether any volume, also of another environment, stands on it."""
    return bool(apps.get_model("devops", "Volume").objects.filter(backing_store=volume.id).exists())
