"""Letting the database follow what QEMU and libvirt have done, where a command was killed.

A merge ends in the header of an image, or in the definition of a domain; the rows come after.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import libvirt

from ..contract import DiskDevice, Node, Volume
from ..hypervisor import asking
from . import pool
from .copies import is_copy, put_in_place, volumes_of
from .domain_xml import disks_of, parse
from .images import Image, images_of
from .layers import chain_of
from .metadata import current_snapshot, snapshot_named, snapshots_of, with_files
from .overlays import files_in_use
from .qemu_img import COPY_SUFFIX
from .records import recorded_of
from .replace import finish
from .restore import forget_chains, redefine
from .saved import forget_save_by_others

LOG = logging.getLogger(__name__)
_END_OF_NAME = 30  # characters; a long name is cut in front, where its hash is put


def reconcile(node: Node, domain: Any) -> list[str]:
    """Correct rows that a killed command has left behind; says what was corrected.

    Only files that the database knows are taken for an answer: what else differs is for
    ``dos.py sync``.
    """
    forget_chains(domain)
    images = images_of(node.driver)
    finish(node, images)
    _remove_copies(node, images)
    corrected = [
        *_correct_disks(node, domain),
        *_correct_backing(node, images),
        *_adopt_overlays(node, images),
        *_drop_empty_rows(node, domain, images),
    ]
    for line in corrected:
        LOG.info("%s", line)
    return corrected


def _remove_copies(node: Node, images: Mapping[str, Image]) -> None:
    """Copies of layers that a killed command had not finished."""
    for volume in node.get_volumes():
        copy = f"{volume.uuid}{COPY_SUFFIX}"
        if volume.uuid and copy in images:
            pool.remove_file(node.driver, copy)


def _adopt_overlays(node: Node, images: Mapping[str, Image]) -> list[str]:
    """Files that were made for a row, of which the row was not told any more."""
    adopted = []
    volumes = list(node.get_volumes())
    known = {volume.uuid for volume in volumes}
    for volume in volumes:
        if volume.uuid or volume.backing_store is None:
            continue
        for image in images.values():
            is_its = image.backing == volume.backing_store.uuid and image.path not in known
            if is_its and PurePath(image.path).name.endswith(f"_{volume.name}"[-_END_OF_NAME:]):
                volume.uuid = image.path
                volume.save()
                known.add(image.path)
                adopted.append(f"{image.path} is volume {volume.name!r}")
                break
    return adopted


def _drop_empty_rows(node: Node, domain: Any, images: Mapping[str, Image]) -> list[str]:
    """Rows of overlays whose file is gone, or was never made, and that nothing needs."""
    volumes = list(node.get_volumes())
    own = {volume.id for volume in volumes}
    needed = {volume.backing_store_id for volume in volumes}
    needed |= {device.volume.id for device in node.disk_devices if device.volume is not None}
    empty = [
        volume
        for volume in volumes
        if volume.backing_store_id in own and volume.id not in needed and volume.uuid not in images
    ]
    if not empty:
        return []
    snapshots = [*snapshots_of(domain).values(), *recorded_of(node).values()]
    named = {disk.path for snapshot in snapshots for disk in snapshot.held}
    named |= files_in_use(domain)
    dropped = []
    for volume in empty:
        if volume.uuid not in named and not (
            volume.uuid and pool.is_there(node.driver, volume.uuid)
        ):
            dropped.append(f"volume {volume.name!r} has no file, and nothing needs it")
            volume.remove()
    return dropped


def _correct_disks(node: Node, domain: Any) -> list[str]:
    with asking(f"reading the definition of {domain.name()}"):
        flags = 0 if domain.isActive() else libvirt.VIR_DOMAIN_XML_INACTIVE
        stands_on = {disk.target: disk.path for disk in disks_of(parse(domain.XMLDesc(flags)))}
    rows = {volume.uuid: volume for volume in node.get_volumes()}
    copies = {v.uuid: v for v in volumes_of(node.group.environment) if is_copy(v)}
    corrected = []
    to_copies: dict[str, list[DiskDevice]] = defaultdict(list)
    for device in node.disk_devices:
        path = stands_on.get(device.target_dev)
        if device.volume is None or path is None or path == device.volume.uuid:
            continue
        if path in rows or path in copies:
            corrected.append(
                f"disk {device.target_dev} of node {node.name!r} stands on {path}, "
                f"not on {device.volume.uuid}"
            )
        if path in copies:
            to_copies[path].append(device)
        elif path in rows:
            device.volume = rows[path]
            device.save()
    for path, devices in to_copies.items():
        put_in_place(copies[path], devices)
    return corrected


def name_now(domain: Any) -> None:
    """Let the current snapshot say what the guest writes to.

    That, and nothing else, may a libvirt that reverts (9.9) unlink when it takes the guest away.
    """
    name = current_snapshot(domain)
    if name is None:
        return
    snapshot = snapshot_named(domain, name)
    with asking(f"reading the definition of {domain.name()}"):
        disks = disks_of(parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
    stands_on = {disk.target: disk.path for disk in disks if disk.path}
    now = {target: stands_on.get(target, path) for target, path in snapshot.overlays.items()}
    if now != snapshot.overlays:
        forget_save_by_others(domain)
        redefine(domain, with_files(snapshot.xml, overlays=now))


def _correct_backing(node: Node, images: Mapping[str, Image]) -> list[str]:
    """Only qcow2 has a header; what a raw file says, a guest wrote."""
    corrected = []
    for volume in node.get_volumes():
        image = images.get(volume.uuid)
        if image is None or volume.format != "qcow2" or volume.backing_store is None:
            continue
        if image.backing != volume.backing_store.uuid:
            below = _row_at(node, image.backing) if image.backing else None
            if image.backing and below is None:
                continue
            corrected.append(f"{volume.uuid} stands on {image.backing or 'nothing'}")
            volume.backing_store = below
            volume.save()
    return corrected


def _row_at(node: Node, path: str) -> Volume | None:
    """A row of the node, or what one of its rows stands on."""
    known = {layer.uuid: layer for volume in node.get_volumes() for layer in chain_of(volume)}
    return known.get(path)
