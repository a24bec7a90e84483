"""Letting the database follow what QEMU and libvirt have done, where a command was killed.

A merge ends in the header of an image, or in the definition of a domain; the rows come after.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import libvirt

from ..contract import Node, Volume
from ..hypervisor import asking
from .domain_xml import disks_of, parse
from .images import Image, images_of
from .layers import chain_of

LOG = logging.getLogger(__name__)


def reconcile(node: Node, domain: Any) -> list[str]:
    """Correct rows that a killed command has left behind; says what was corrected.

    Only files that the database knows are taken for an answer: what else differs is for
    ``dos.py sync``.
    """
    corrected = [
        *_correct_disks(node, domain),
        *_correct_backing(node, images_of(node.driver)),
    ]
    for line in corrected:
        LOG.info("%s", line)
    return corrected


def _correct_disks(node: Node, domain: Any) -> list[str]:
    with asking(f"reading the definition of {domain.name()}"):
        flags = 0 if domain.isActive() else libvirt.VIR_DOMAIN_XML_INACTIVE
        stands_on = {disk.target: disk.path for disk in disks_of(parse(domain.XMLDesc(flags)))}
    rows = {volume.uuid: volume for volume in node.get_volumes()}
    corrected = []
    for device in node.disk_devices:
        path = stands_on.get(device.target_dev)
        if device.volume is None or path is None or path == device.volume.uuid:
            continue
        if path in rows:
            corrected.append(
                f"disk {device.target_dev} of node {node.name!r} stands on {path}, "
                f"not on {device.volume.uuid}"
            )
            device.volume = rows[path]
            device.save()
    return corrected


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
