"""Disks that stand on another file than the database says, and files that do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from shlex import quote

from django.db import transaction

from ...contract import DiskDevice
from ..domain_xml import DomainDisk
from ..reconcile import reconcile
from .finding import Finding
from .seen import Seen
from .strangers import Strangers, strangers_at


def moved_disks(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """A disk of a domain, or of the database, that the other has elsewhere or not at all."""
    for seen in nodes:
        if seen.domain is None:
            continue
        rows = {device.target_dev: device for device in seen.node.disk_devices}
        for target, device in rows.items():
            if device.device == "disk":
                yield from _moved(seen, device, seen.disks.get(target))
        for target, disk in seen.disks.items():
            if target not in rows and disk.device == "disk":
                yield seen.finding(
                    "disk-unknown",
                    f"disk {target} ({disk.path}) is not in the database",
                    "detach it before the next snapshot, or leave it",
                )


def _moved(seen: Seen, device: DiskDevice, disk: DomainDisk | None) -> Iterator[Finding]:
    target = device.target_dev
    expected = device.volume.uuid if device.volume is not None else None
    if disk is None:
        what = f"disk {target} ({expected}) is in the database, but the domain has none"
        yield seen.finding("disk-gone", what, "attach it again, or revert to a snapshot")
    elif disk.path is None or disk.path == expected:
        return
    elif disk.path in seen.volumes:
        what = f"disk {target} stands on {disk.path}, but the database says {expected}"
        remedy = "--repair corrects the database"
        yield seen.finding("disk-moved", what, remedy, partial(reconcile, seen.node, seen.domain))
    else:
        what = (
            f"disk {target} stands on {disk.path}, which the database does not know; "
            f"it says {expected}"
        )
        strangers = strangers_at(seen, disk.path, disk.format)
        if strangers is None:
            remedy = (
                "that stands on no volume of the node in its storage pool: revert to a snapshot"
            )
            yield seen.finding("disk-moved", what, remedy)
        else:
            remedy = "--repair adds it to the database"
            yield seen.finding(
                "disk-moved", what, remedy, partial(_adopt_and_attach, strangers, device)
            )


def _adopt_and_attach(strangers: Strangers, device: DiskDevice) -> None:
    with transaction.atomic():
        device.volume = strangers.adopt()
        device.save()


def moved_layers(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Images whose header names another backing file than their row."""
    for seen in nodes:
        if seen.domain is None:
            continue
        for path, volume in seen.volumes.items():
            image = seen.images.get(path)
            if image is None or volume.format != "qcow2" or volume.backing_store is None:
                continue  # only qcow2 has a header: what a raw file says, a guest wrote
            if image.backing == volume.backing_store.uuid:
                continue
            what = (
                f"{path} stands on {image.backing or 'nothing'}, "
                f"but the database says {volume.backing_store.uuid}"
            )
            if image.backing and seen.row_at(image.backing) is None:
                remedy = "that file is unknown to the database: do not touch it before you know why"
                yield seen.finding("layer-moved", what, remedy)
            else:
                remedy = "--repair corrects the database"
                repair = partial(reconcile, seen.node, seen.domain)
                yield seen.finding("layer-moved", what, remedy, repair)


def unknown_layers(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Files that a snapshot froze and that have no row."""
    for seen in nodes:
        snapshots = {**seen.recorded, **seen.external}
        told: set[str] = set()
        for snapshot in snapshots.values():
            for disk in snapshot.snapshotted:
                path = str(disk.path)
                if path in seen.volumes or path in told or not seen.is_there(path):
                    continue
                told.add(path)
                yield _unknown_layer(seen, snapshot.name, path, disk.format)


def _unknown_layer(seen: Seen, snapshot: str, path: str, image_format: str) -> Finding:
    what = f"snapshot {snapshot!r} stands on {path}, which the database does not know"
    strangers = strangers_at(seen, path, image_format)
    if strangers is None:
        remedy = "that stands on no volume of the node in its storage pool: it cannot be reverted"
        return seen.finding("layer-unknown", what, remedy)
    remedy = "--repair adds it to the database"
    return seen.finding("layer-unknown", what, remedy, strangers.adopt)


def thawed_layers(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Layers that a snapshot froze and that a disk writes to all the same."""
    for seen in nodes:
        for snapshot in seen.external.values():
            for disk in snapshot.snapshotted:
                if disk.path in seen.written:
                    yield seen.finding(
                        "layer-written",
                        f"disk {disk.target} writes to {disk.path}, which snapshot "
                        f"{snapshot.name!r} froze",
                        f"if it has not run since, 'dos.py revert {quote(seen.environment.name)} "
                        f"{quote(snapshot.name)}' saves the snapshot; else its content is lost",
                    )
