"""Snapshots that only libvirt or only our rows know, or that both know differently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from django.db import transaction

from ...models import NodeSnapshot, Underway
from ..heal import distortions, tell_as_recorded
from ..layers import chain_of
from ..metadata import SnapshotMetadata, snapshots_of, with_parent
from ..records import remember
from ..restore import redefine
from .finding import Finding
from .seen import Seen
from .strangers import strangers_at

_FORGETS = "--repair forgets this node's part of it, and the layers that nothing else needs"


def forgotten_snapshots(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Recorded, but unknown to libvirt: ``virsh snapshot-delete --metadata``."""
    for seen in nodes:
        if seen.domain is None:
            continue
        for snapshot in sorted(seen.recorded.values(), key=lambda snapshot: snapshot.created):
            if snapshot.name in seen.known:
                continue
            what = f"snapshot {snapshot.name!r} is recorded, but libvirt does not know it"
            lost = _why_lost(seen, snapshot)
            if lost is None:
                remedy = "--repair tells it to libvirt again, 'dos.py snapshot-delete' deletes it"
                repair = partial(_tell_again, seen, snapshot)
            else:
                what = f"{what}, and {lost}"
                remedy = _FORGETS
                repair = partial(_forget, seen, snapshot.name)
            yield seen.finding("snapshot-forgotten", what, remedy, repair)
        yield from _bare_records(seen)


def _bare_records(seen: Seen) -> Iterator[Finding]:
    """Rows of early versions, without what libvirt would have to be told."""
    bare = NodeSnapshot.objects.filter(
        node_id=seen.node.id, metadata="", snapshot__underway=Underway.NOTHING
    )
    for name in bare.values_list("snapshot__name", flat=True):
        if name not in seen.known:
            yield seen.finding(
                "snapshot-forgotten",
                f"snapshot {name!r} is recorded, but libvirt does not know it, "
                "and nothing is recorded to tell it again",
                _FORGETS,
                partial(_forget, seen, name),
            )


def _why_lost(seen: Seen, snapshot: SnapshotMetadata) -> str | None:
    """Why libvirt cannot be told of it again; None: it can."""
    for path in needed_files(seen, snapshot):
        if not seen.is_there(path):
            return f"{path} is missing"
    for disk in snapshot.snapshotted:
        path = str(disk.path)
        if path in seen.written:
            return f"disk {disk.target} writes to {path}, which it froze"
        if path not in seen.volumes and strangers_at(seen, path, disk.format) is None:
            return f"the database does not know {path}"
    return None


def needed_files(seen: Seen, snapshot: SnapshotMetadata) -> Iterator[str]:
    """Its layers with all below them, its copies, and its memory."""
    for disk in snapshot.held:
        path = str(disk.path)
        row = seen.volumes.get(path)
        yield from [path] if row is None else [layer.uuid for layer in chain_of(row)]
    if snapshot.memory_path:
        yield snapshot.memory_path


def _tell_again(seen: Seen, snapshot: SnapshotMetadata) -> None:
    known = snapshots_of(seen.domain)
    parent = _nearest(snapshot.parent, known, seen.recorded)
    is_current = _descends_from(seen, {**known, snapshot.name: snapshot}) == snapshot.name
    redefine(seen.domain, with_parent(snapshot.xml, parent), current=is_current)


def _nearest(
    name: str | None,
    known: Mapping[str, SnapshotMetadata],
    recorded: Mapping[str, SnapshotMetadata],
) -> str | None:
    """The first one from there up that libvirt knows."""
    passed: set[str] = set()
    while name is not None and name not in known:
        if name not in recorded or name in passed:
            return None
        passed.add(name)
        name = recorded[name].parent
    return name


def _descends_from(seen: Seen, snapshots: Mapping[str, SnapshotMetadata]) -> str | None:
    """The snapshot that "now" descends from, by the layers that the disks stand on.

    What was recorded of a snapshot is trusted more than what libvirt says.
    """
    named = {
        str(disk.path): name
        for name, snapshot in snapshots.items()
        if not snapshot.internal
        for disk in seen.recorded.get(name, snapshot).snapshotted
    }
    for device in seen.node.disk_devices:
        if device.volume is not None:
            below = (layer.uuid for layer in chain_of(device.volume))
            nearest = next((named[path] for path in below if path in named), None)
            if nearest is not None:
                return nearest
    return None


def _forget(seen: Seen, name: str) -> None:
    """The node's part of it, and with the last part the whole."""
    part = NodeSnapshot.objects.get(node_id=seen.node.id, snapshot__name=name)
    with transaction.atomic():
        part.delete()
        if not part.snapshot.node_snapshots.exists():
            part.snapshot.delete()


def distorted_snapshots(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Known to both, but not as the same."""
    for seen in nodes:
        for distortion in distortions(seen.known, seen.recorded):
            what = distortion.what
            lost = _why_lost(seen, distortion.recorded)
            if lost is None:
                remedy = "--repair tells libvirt what was recorded"
                repair = partial(tell_as_recorded, seen.domain, distortion)
            else:
                what = f"{what}, and {lost}"
                remedy = "--repair records what libvirt says"
                repair = partial(remember, seen.environment)
            yield seen.finding("snapshot-distorted", what, remedy, repair)


def unrecorded_snapshots(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Made by fuel-devops or virsh; those inside the images are nobody's but libvirt's."""
    for seen in nodes:
        for name, snapshot in seen.external.items():
            if name in seen.recorded:
                continue
            what = f"snapshot {name!r} is known to libvirt, but not recorded"
            stranger = next(
                (disk.path for disk in snapshot.snapshotted if disk.path not in seen.volumes), None
            )
            if stranger is None:
                remedy, repair = "--repair records it", partial(remember, seen.environment)
                yield seen.finding("snapshot-unrecorded", what, remedy, repair)
            else:
                remedy = f"it stands on {stranger}, which the database does not know"
                yield seen.finding("snapshot-unrecorded", what, remedy)
