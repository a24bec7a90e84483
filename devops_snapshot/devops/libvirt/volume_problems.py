"""What stands in the way of volumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from devops_snapshot.errors import (
    DevopsError,
    FormatError,
    NotFoundError,
    TemplateError,
)
from devops_snapshot.qcow2 import read_header
from devops_snapshot.storage_pool import find_by_name

from .refusal import taken

if TYPE_CHECKING:
    from .volume import LibvirtVolume


def volume_problems(volume: LibvirtVolume) -> Iterator[DevopsError]:
    """What stands in the way of creating a volume."""
    what = f"volume '{volume.new_name()}'"
    yield from _content_problems(volume, what)
    if volume.source_image:
        yield from _image_problems(volume, what)
    yield from _pool_problems(volume)


def _content_problems(volume: LibvirtVolume, what: str) -> Iterator[DevopsError]:
    on_another = volume.backing_store is not None or bool(volume.shared_backing_store_name)
    if on_another and volume.source_image:
        yield TemplateError(f"{what} has both a source_image and a backing store")
    if on_another and volume.image_format != "qcow2":
        yield TemplateError(
            f"{what} has a backing store, which only qcow2 can have, not {volume.image_format}"
        )
    if not (volume.capacity or volume.source_image or on_another):
        yield TemplateError(f"{what} has neither capacity nor source_image nor backing_store")
    try:
        float(volume.capacity or 0)
    except (TypeError, ValueError):
        yield TemplateError(f"capacity of {what} is no number: {volume.capacity!r}")


def _image_problems(volume: LibvirtVolume, what: str) -> Iterator[DevopsError]:
    path = Path(str(volume.source_image))
    try:
        header = read_header(path)
        empty = not path.stat().st_size
    except FormatError as error:
        yield TemplateError(f"source_image of {what} cannot be used: {error.message}")
        return
    except OSError as error:
        yield NotFoundError(
            f"source_image of {what} cannot be read: {volume.source_image}: {error.strerror}"
        )
        return
    if empty:
        yield TemplateError(f"source_image of {what} is empty: {volume.source_image}")
    elif volume.image_format == "qcow2" and header.format != "qcow2":
        yield TemplateError(
            f"source_image of {what} is not qcow2, as its format says: {volume.source_image}"
        )
    elif volume.has_several_paths and header.format == "qcow2":
        yield TemplateError(
            f"source_image of {what} is qcow2, which cannot be used over several paths at once: "
            f"{volume.source_image}",
            hint="Make it raw: qemu-img convert -O raw",
        )


def _pool_problems(volume: LibvirtVolume) -> Iterator[DevopsError]:
    name, shared = volume.new_name(), volume.shared_backing_store_name
    with volume.driver.asking(f"look up volume '{name}'"):
        try:
            pool = volume.driver.pool
        except NotFoundError as error:
            yield error
            return
        if find_by_name(pool, name) is not None:
            yield taken("volume", name, volume.driver)
        if shared and find_by_name(pool, shared) is None:
            yield NotFoundError(
                f"shared_backing_store_name of volume '{name}': "
                f"'{shared}' is not in storage pool '{pool.name()}'"
            )
