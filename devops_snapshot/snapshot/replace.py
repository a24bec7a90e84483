"""A layer's file in the place of the volume below it.

Where a layer was pulled into the one above, the lower file goes. If it was the one of a volume that
the environment was created with, its *row* stays, under the name that users and fuel-devops know it
by, and gets the upper file. What is left to be done is noted in the rows' ``params``, for the next
command to do if this one is killed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.apps import apps
from django.db import transaction

from ..contract import Node, Volume
from . import pool
from .images import Image

_TAKES_OVER = "takes_over"
_SUPERSEDED = "superseded"


def announce(upper: Volume, lower: Volume) -> None:
    """The upper file is about to take the place of the lower one."""
    upper.params[_TAKES_OVER] = lower.id
    upper.save()


def replace(node: Node, upper: Volume, lower: Volume) -> None:
    """Let the lower row have the upper file, and the lower file go."""
    superseded = lower.uuid
    with transaction.atomic():
        lower.uuid, lower.format = upper.uuid, upper.format
        lower.params[_SUPERSEDED] = superseded
        lower.save()
        objects: Any = apps.get_model("devops", "Volume").objects
        for volume in objects.filter(backing_store=upper.id):
            volume.backing_store = lower
            volume.save()
        for device in node.disk_devices:
            if device.volume is not None and device.volume.id == upper.id:
                device.volume = lower
                device.save()
        upper.delete()
    _remove_superseded(node, lower)


def finish(node: Node, images: Mapping[str, Image]) -> None:
    """Do what a command that was killed has left to be done."""
    volumes = {volume.id: volume for volume in node.get_volumes()}
    for volume in volumes.values():
        if _SUPERSEDED in volume.params:
            _remove_superseded(node, volume)
        lower = volumes.get(volume.params.pop(_TAKES_OVER, 0))
        if lower is not None and _is_independent(images, volume, lower):
            replace(node, volume, lower)
        elif lower is not None:
            volume.save()


def _is_independent(images: Mapping[str, Image], upper: Volume, lower: Volume) -> bool:
    """Whether all was copied: then the upper image stands on what the lower one stands on."""
    above, below = images.get(upper.uuid), images.get(lower.uuid)
    if above is None or below is None:
        return False
    return above.backing == (below.backing if lower.format == "qcow2" else None)


def _remove_superseded(node: Node, volume: Volume) -> None:
    pool.remove_file(node.driver, volume.params[_SUPERSEDED])
    del volume.params[_SUPERSEDED]
    volume.save()
