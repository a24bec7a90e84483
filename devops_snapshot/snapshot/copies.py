"""Copies of volumes that libvirt puts no overlay on: raw ones that QEMU has open more than once.

A copy has a row of its own, beside that of the volume, with a mark that tells whose copy it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import libvirt
from django.apps import apps
from django.db import transaction
from lxml import etree

from .. import storage_pool
from ..contract import DiskDevice, Environment, Volume
from ..errors import NotFoundError
from ..hypervisor import asking
from . import pool
from .domain_xml import serialise
from .images import used_by_other_domains
from .layers import COPY_OF
from .metadata import snapshots_of
from .nodes import nodes_with_domains
from .overlays import MAX_ROW_NAME, files_in_use, free_name
from .records import recorded_of


def is_copy(volume: Volume) -> bool:
    """Whether it is here for a snapshot, or for the time of a revert."""
    return bool(volume.params.get(COPY_OF))


def volumes_of(environment: Environment) -> list[Volume]:
    """All rows of an environment: a disk of one node may be a volume of another, or of a group."""
    owners = [*environment.get_groups(), *environment.get_nodes()]
    return [volume for owner in owners for volume in owner.get_volumes()]


def volume_at(environment: Environment, path: str) -> Volume:
    """The row of a file.

    :raises NotFoundError: the database knows no such volume
    """
    for volume in volumes_of(environment):
        if volume.uuid == path:
            return volume
    raise NotFoundError(
        f"the database knows no volume of environment {environment.name!r} at {path}"
    )


def make_copy(environment: Environment, volume: Volume, suffix: str) -> Volume:
    """Copy a file that nobody writes to; holes stay holes, and data is shared where it can be.

    The row comes first, so that what a killed command leaves behind is known.

    :raises DevopsError: nothing is left of the copy
    """
    told = volume.params.get(COPY_OF) or {
        "name": volume.name,
        "capacity": volume.params.get("capacity"),
    }
    owner: Any = volume.node or volume.group
    name = free_name(owner, f"{told['name']}.{suffix}"[:MAX_ROW_NAME])
    path = pool.free_file(volume.driver, f"{environment.name}_{owner.name}_{name}")
    rows = _rows()
    # only a row that was read is of the driver's class
    row: Volume = rows.get(
        id=rows.create(
            name=name,
            node=volume.node,
            group=volume.group,
            params={**volume.params, "uuid": str(path), "capacity": None, COPY_OF: told},
        ).id
    )
    try:
        _copy(volume, path.name)
    except BaseException:
        row.remove()
        raise
    return row


def _copy(volume: Volume, name: str) -> None:
    storage = pool.pool_of(volume.driver)
    with asking(f"copying {volume.uuid}"):
        source = storage_pool.find_by_path(storage, volume.uuid)
        if source is None:
            raise NotFoundError(f"{volume.uuid} is not in storage pool {storage.name()!r}")
        document = _document(name, capacity=source.info()[1])
        try:
            storage.createXMLFrom(document, source, libvirt.VIR_STORAGE_VOL_CREATE_REFLINK)
        except libvirt.libvirtError:  # most file systems cannot
            storage.createXMLFrom(document, source, 0)


def _document(name: str, *, capacity: int) -> str:
    """:param capacity: bytes"""
    root = etree.Element("volume")
    etree.SubElement(root, "name").text = name
    etree.SubElement(root, "capacity").text = str(capacity)
    etree.SubElement(root, "allocation").text = "0"  # libvirt then leaves out what is zero
    etree.SubElement(etree.SubElement(root, "target"), "format", type="raw")
    return serialise(root)


def put_in_place(copy: Volume, devices: Sequence[DiskDevice]) -> None:
    """Write to the database that disks stand on a copy.

    The row that they have keeps its name, and the copy's row gets the file that was theirs. After
    an import there may be none but a snapshot's: then the copy becomes the volume.

    :param devices: all of one volume
    """
    rows = _rows()
    with transaction.atomic():
        fresh, before = (rows.get(id=volume.id) for volume in (copy, _volume_of(devices)))
        if not is_copy(before):
            fresh.uuid, before.uuid = before.uuid, fresh.uuid
            fresh.save()
            before.save()
            return
        told = fresh.params.pop(COPY_OF)
        fresh.name = free_name(fresh.node or fresh.group, told["name"])
        fresh.params["capacity"] = told.get("capacity")
        fresh.save()
        for device in devices:
            device.volume = fresh
            device.save()


def _volume_of(devices: Sequence[DiskDevice]) -> Volume:
    volume = devices[0].volume
    assert volume is not None, "the disk has a file"
    return volume


def idle_copies(environment: Environment) -> list[Volume]:
    """Those that no snapshot names and nobody stands on."""
    copies = [volume for volume in volumes_of(environment) if is_copy(volume)]
    needed = set(_needed(environment)) if copies else set()
    return [copy for copy in copies if copy.uuid not in needed]


def _needed(environment: Environment) -> Iterator[str | None]:
    for node, domain in nodes_with_domains(environment):
        for snapshot in (*snapshots_of(domain).values(), *recorded_of(node).values()):
            yield from (disk.path for disk in snapshot.held)
        yield from files_in_use(domain)
        yield from used_by_other_domains(node.driver.conn, domain)
    for node in environment.get_nodes():
        yield from (device.volume.uuid for device in node.disk_devices if device.volume)


def _rows() -> Any:
    return apps.get_model("devops", "Volume").objects
