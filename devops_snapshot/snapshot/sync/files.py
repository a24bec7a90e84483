"""Files that are missing, and those that belong to nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from django.apps import apps

from ...contract import Volume
from ...hypervisor import asking, connection_of
from ...models import NodeSnapshot
from ..images import chain_in
from ..layers import chain_of
from .finding import Finding
from .seen import Seen
from .snapshots import needed_files

_MEMORY = "snapshot-memory-"


def missing_files(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """What a disk or a snapshot needs and nobody can bring back."""
    for seen in nodes:
        lost: dict[str, list[str]] = defaultdict(list)
        for path, user in _needed(seen):
            if not seen.is_there(path) and user not in lost[path]:
                lost[path].append(user)
        for path, users in lost.items():
            yield seen.finding(
                "file-missing",
                f"{path} is missing, and with it {', '.join(users)}",
                "bring it back, or delete those snapshots with 'dos.py snapshot-delete'",
            )


def _needed(seen: Seen) -> Iterator[tuple[str, str]]:
    """Files, and for whom."""
    for snapshot in seen.external.values():
        for path in needed_files(seen, snapshot):
            yield path, f"snapshot {snapshot.name!r}"
    for device in seen.node.disk_devices:
        if device.volume is not None and device.volume.uuid:
            for path in _chain(seen, device.volume):
                yield path, f"disk {device.target_dev}"


def _chain(seen: Seen, volume: Volume) -> Iterator[str]:
    """By the rows, and from the last one on by the headers: a shared base image has no row."""
    *_, last = layers = list(chain_of(volume))
    yield from (layer.uuid for layer in layers)
    if last.format == "qcow2":
        yield from chain_in(seen.images, last.uuid)[1:]


def empty_rows(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Volumes of which only the row is left."""
    for seen in nodes:
        needed = {path for path, _ in _needed(seen)}
        needed |= {str(d.path) for s in seen.recorded.values() for d in s.held}
        for path, volume in seen.volumes.items():
            if path in needed or seen.is_there(path):
                continue
            what = f"volume {volume.name!r} has no file any more ({path})"
            if _is_used(volume):
                remedy = "other volumes stand on it: bring it back"
                yield seen.finding("volume-empty", what, remedy)
            else:
                remedy = "nothing needs it: --repair drops its row"
                yield seen.finding("volume-empty", what, remedy, volume.delete)


def _is_used(volume: Volume) -> bool:
    """Whether a row of any environment refers to it: that would go with it."""
    children: Any = apps.get_model("devops", "Volume").objects.filter(backing_store=volume.id)
    devices: Any = apps.get_model("devops", "DiskDevice").objects.filter(volume=volume.id)
    return bool(children.exists() or devices.exists())


def stray_memories(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Memory files in the pool that are named after a node and that no snapshot names."""
    for seen in nodes:
        if seen.domain is None:
            continue
        with asking("listing the domains"):
            domains = [domain.name() for domain in connection_of(seen.node).listAllDomains()]
            own = seen.domain.name()
        snapshots = [*seen.known.values(), *seen.recorded.values()]
        named = {snapshot.memory_path for snapshot in snapshots}
        named |= set(NodeSnapshot.objects.values_list("memory_path", flat=True))  # half taken
        for path in sorted(seen.images):
            if path not in named and _owner(PurePath(path).name, domains) == own:
                yield seen.finding(
                    "memory-stray",
                    f"memory file {path} belongs to no snapshot",
                    "delete it if nobody needs it: virsh vol-delete " + path,
                )


def _owner(name: str, domains: Sequence[str]) -> str | None:
    """Whose memory a file of that name is: names may be the beginnings of others."""
    fitting = [domain for domain in domains if name.startswith(f"{_MEMORY}{domain}.")]
    return max(fitting, key=len, default=None)
