"""Whether guests write into files of their own only.

Files that others stand on are shared on this host: with the layer cache, and with environments that
were there before. What a snapshot has frozen gets a fresh overlay, or a fresh copy, from a revert;
whatever a guest would write to otherwise must be nobody else's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lxml import etree

from ..errors import FormatError
from ..snapshot.domain_xml import disks_of, parse
from ..snapshot.metadata import SnapshotMetadata, parse_snapshot
from . import document

_DEFINITIONS = ("domain", "inactiveDomain")


def check_writing(manifest: document.Manifest) -> None:
    """Refuse a disk that would be written to, and on which others stand.

    :param manifest: whose snapshots were read before
    :raises FormatError: naming the file
    """
    nodes = list(manifest.environment.nodes)
    snapshots = {node.name: _external(node) for node in nodes}
    frozen = {file.backing for file in manifest.files}
    for of_node in snapshots.values():
        frozen |= {disk.path for snapshot in of_node.values() for disk in snapshot.held}
    frozen.discard(None)
    for node in nodes:
        of_node = snapshots[node.name]
        for path in _written(parse(node.domain_xml), of_node.get(manifest.current or "")):
            _require_own(f"node {node.name!r}", path, frozen)
        for name, snapshot in of_node.items():
            root = parse(snapshot.xml)
            for definition in (found for tag in _DEFINITIONS for found in root.findall(tag)):
                for path in _written(definition, snapshot):
                    _require_own(f"node {node.name!r} at {name!r}", path, frozen)


def _external(node: document.Node) -> dict[str, SnapshotMetadata]:
    return {s.name: parse_snapshot(s.xml) for s in node.snapshots if not s.internal}


def _written(definition: etree._Element, snapshot: SnapshotMetadata | None) -> Iterator[str]:
    """Files that a guest writes to if it is defined so and taken back to that snapshot."""
    held = {} if snapshot is None else {disk.target: disk.path for disk in snapshot.held}
    for disk in disks_of(definition):
        if disk.path and (disk.writable or disk.shared) and disk.target not in held:
            yield disk.path


def _require_own(owner: str, path: str, frozen: Collection[str | None]) -> None:
    if path in frozen:
        raise FormatError(f"{owner} writes into {path!r}, on which others stand")
