"""Nodes whose domain libvirt does not have any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import libvirt

from ...connection import found
from ...hypervisor import asking, connection_of
from ..metadata import SnapshotMetadata
from ..restore import define
from .finding import Finding
from .seen import Seen


def gone_domains(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Defined again, off, as it was when its newest snapshot was taken."""
    for seen in nodes:
        if seen.domain is not None:
            continue
        what = f"its domain (UUID {seen.node.params['uuid']}) is gone"
        newest = _newest(seen)
        if newest is None:
            remedy = "no snapshot of it is recorded: define it by hand with that UUID"
            yield seen.finding("domain-gone", what, remedy)
        elif _name_is_taken(seen, newest):
            name = newest.definition.findtext("name")
            remedy = f"another domain is called {name!r} by now: rename or undefine that"
            yield seen.finding("domain-gone", what, remedy)
        else:
            remedy = f"--repair defines it as snapshot {newest.name!r} has it, off, on its disks"
            yield seen.finding("domain-gone", what, remedy, partial(_define, seen, newest))


def _newest(seen: Seen) -> SnapshotMetadata | None:
    fitting = [
        snapshot
        for snapshot in seen.recorded.values()
        if snapshot.definition.findtext("uuid") == seen.node.params["uuid"]
    ]
    return max(fitting, key=lambda snapshot: snapshot.created, default=None)


def _name_is_taken(seen: Seen, snapshot: SnapshotMetadata) -> bool:
    connection = connection_of(seen.node)
    name = snapshot.definition.findtext("name")
    with asking(f"looking up domain {name!r}"):
        return found(connection.lookupByName, name, libvirt.VIR_ERR_NO_DOMAIN) is not None


def _define(seen: Seen, snapshot: SnapshotMetadata) -> None:
    sources = {
        device.target_dev: (device.volume.uuid, device.volume.format)
        for device in seen.node.disk_devices
        if device.volume is not None
    }
    define(connection_of(seen.node), snapshot.definition, sources)
