"""Keeping chains short, whatever the number of named snapshots.

libvirt 9.0 takes 200 images in a chain, 10.8 to 11.10 about 25 (libvirt's NEWS). Named layers
cannot be merged; so before a chain would get too long, its top layer is *flattened*: what it reads
from the layers in between is copied into it, and it stands on the volume of the template directly.
The layers in between go on being what the older snapshots read.
"""

from __future__ import annotations

import os
from typing import Any

from ..contract import Node, Volume
from ..errors import ConflictError, UnsupportedError
from ..hypervisor import RunState, is_postmigrate, run_state
from ..interrupts import Heed
from ..progress import Progress
from . import block_jobs, pool, qemu_img
from .domain_xml import DomainDisk
from .images import chain_in, images_of
from .layers import chain_of
from .overlays import device_of
from .restore import forget_chains

MAX_CHAIN = 20
"""Images of a disk, the one that the guest writes to included."""


def make_room(
    node: Node,
    domain: Any,
    disks: list[DomainDisk],
    progress: Progress,
    heed: Heed,
) -> bool:
    """Let every disk take one more overlay; returns whether anything was changed.

    :raises ConflictError: the guest has not run since its memory was saved, so its layers are fixed
    :raises DevopsError: the data cannot be copied; nothing has changed
    """
    images = images_of(node.driver)
    flattened = False
    for disk in disks:
        volume = device_of(node, disk).volume
        if volume is not None and len(chain_in(images, volume.uuid)) >= MAX_CHAIN:
            size = sum(images[path].allocated for path in chain_in(images, volume.uuid)[1:-1])
            progress.begin(f"Flattening {volume.name}", size)
            _flatten(node, domain, disk.target, volume, progress, heed)
            flattened = True
    return flattened


def _flatten(
    node: Node,
    domain: Any,
    target: str,
    volume: Volume,
    progress: Progress,
    heed: Heed,
) -> None:
    base = _root(node, volume)
    if base.id == volume.id:
        raise UnsupportedError(
            f"{volume.uuid} stands on {MAX_CHAIN} images or more that belong to no snapshot"
        )
    if run_state(domain) is RunState.SHUTOFF:
        if not pool.is_ours(node.driver, volume.uuid):
            raise ConflictError(
                f"the disk {target} of node {node.name!r} has {MAX_CHAIN} layers, and no more can "
                "be added while it is off by whoever may not write to its files",
                hint="Start it, or take the snapshot as root on its host",
            )
        qemu_img.rebase(volume.uuid, base.uuid, base.format, heed)
        qemu_img.sync(volume.uuid)
    else:
        if is_postmigrate(domain):
            raise ConflictError(
                f"the disk {target} of node {node.name!r} has {MAX_CHAIN} layers, and no more can "
                "be added while the guest stands still",
                hint="Let it run for a moment: dos.py resume",
            )
        block_jobs.pull(domain, target, base.uuid, progress, heed)
        block_jobs.flush(domain)
        if pool.is_local(node.driver) and os.access(volume.uuid, os.R_OK):
            qemu_img.sync(volume.uuid)
    forget_chains(domain)
    volume.backing_store = base
    volume.save()


def _root(node: Node, volume: Volume) -> Volume:
    """The node's own volume at the bottom, which may stand on a base image of the group."""
    own = {candidate.id for candidate in node.get_volumes()}
    *_, root = [layer for layer in chain_of(volume) if layer.id in own]
    return root
