"""Files of a node that have no row: what made them was neither this project nor fuel-devops."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from django.db import transaction

from ...contract import Volume
from ...errors import DevopsError
from ...qcow2 import ImageHeader
from ..images import header_at
from ..layers import deepest
from ..overlays import MAX_ROW_NAME, free_name
from .seen import Seen


@dataclass(frozen=True)
class Strangers:
    """Overlays without a row, that stand on a volume of the node.

    :param paths: from the bottom up
    :param below: what the lowest one stands on
    """

    seen: Seen
    paths: tuple[str, ...]
    below: Volume

    def adopt(self) -> Volume:
        """Make rows for them; returns that of the topmost."""
        volume = self.below
        with transaction.atomic():
            for path in self.paths:
                volume = _adopted(self.seen, volume, path)
        return volume


def strangers_at(seen: Seen, path: str, image_format: str | None) -> Strangers | None:
    """The file and what is below it, down to the first one with a row; None: there is no such.

    :param image_format: of the file, as the domain or the header above it says; a file is never
        asked itself what it is, for a guest may have written that
    """
    paths: list[str] = []
    while path not in seen.volumes:
        header = _header(seen, path) if image_format == "qcow2" else None
        if path not in seen.images or path in paths or not _is_plain_overlay(header):
            return None
        assert header is not None, "it is an overlay"
        paths.insert(0, path)
        image_format = header.backing_format
        path = str(header.backing_path(Path(path)))
    return Strangers(seen, tuple(paths), seen.volumes[path])


def _header(seen: Seen, path: str) -> ImageHeader | None:
    with suppress(OSError, DevopsError):
        return header_at(seen.node.driver, path)
    return None


def _is_plain_overlay(header: ImageHeader | None) -> bool:
    if header is None or header.data_file or header.encrypted:
        return False
    return header.format == "qcow2" and header.backing_file is not None


def _adopted(seen: Seen, below: Volume, path: str) -> Volume:
    """Named as if a snapshot of that name had made it."""
    stem = PurePath(deepest(below).uuid).name
    suffix = PurePath(path).name.removeprefix(stem).lstrip(".") or "adopted"
    name = f"{deepest(below).name}.{suffix}"[:MAX_ROW_NAME]
    volume = below.create_child(name=free_name(seen.node, name))
    volume.format = "qcow2"
    volume.uuid = path
    volume.save()
    return volume
