"""Which layers are still needed, and the removal of those that are not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import apps

from ..contract import Node, Volume
from .metadata import snapshots_of


def chain_of(volume: Volume) -> Iterable[Volume]:
    """The volume and everything below it, as the database has it."""
    step: Volume | None = volume
    while step is not None:
        yield step
        step = step.backing_store


def needed_volumes(node: Node, domain: Any) -> set[int]:
    """Ids of all volumes that a disk of the node or a snapshot of its domain stands on."""
    by_path = {volume.uuid: volume for volume in node.get_volumes()}
    tops = [device.volume for device in node.disk_devices if device.volume is not None]
    for snapshot in snapshots_of(domain).values():
        tops += [by_path[str(d.path)] for d in snapshot.snapshotted if d.path in by_path]
    return {layer.id for top in tops for layer in chain_of(top)}


def remove_unneeded(node: Node, domain: Any, candidates: Sequence[Volume]) -> list[str]:
    """Remove overlays that nothing needs any more, from the top down; returns their names.

    Only the candidates and what they stand on are looked at, and only overlays of this node: a
    volume without backing store, or a group's base image, stays whatever happens.
    """
    needed = needed_volumes(node, domain)
    removed: list[str] = []
    for candidate in candidates:
        for layer in list(chain_of(candidate)):
            if layer.id is None:
                continue  # an earlier candidate stood on it and took it along
            if layer.id in needed or _carries_another(layer) or not _is_overlay(node, layer):
                break
            removed.append(layer.name)
            layer.remove()
    return removed


def _carries_another(volume: Volume) -> bool:
    """Whether any volume, also of another environment, stands on it."""
    return bool(apps.get_model("devops", "Volume").objects.filter(backing_store=volume.id).exists())


def _is_overlay(node: Node, volume: Volume) -> bool:
    return volume.backing_store is not None and any(
        own.id == volume.id for own in node.get_volumes()
    )
