"""What an export tells of itself: its manifest, and the few words of it that a listing shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..hypervisor import connection_of
from ..manifest import Manifest
from ..manifest.document import File
from ..manifest.reading import provenance, read_environment, read_host
from .selection import Selection
from .wanted import Wanted


def manifest_of(
    environment: Any,
    selection: Selection,
    wanted: Wanted,
    *,
    files: Sequence[File],
    freeze_seconds: float | None,
) -> Manifest:
    """The environment as it is now, and its files as they were sent, or will be."""
    return Manifest(
        environment=read_environment(
            environment,
            parts={node.node.id: node.parts for node in selection.nodes},
            volumes=set(selection.volumes),
        ),
        files=tuple(files),
        snapshots=selection.names,
        current=selection.current,
        definitions_only=wanted.definitions_only,
        freeze_seconds=freeze_seconds,
        host=read_host(connection_of(selection.nodes[0].node)),
        provenance=provenance(description=wanted.description, test=wanted.test, tags=wanted.tags),
    )


def summarise(manifest: Manifest) -> dict[str, Any]:
    """What a listing shows of an export, and finds it by."""
    test = manifest.provenance.test
    return {
        "environment": manifest.environment.name,
        "snapshots": list(manifest.snapshots),
        "description": manifest.provenance.description,
        "host": manifest.host.name,
        "created": manifest.provenance.created.isoformat(),
        "nodes": [node.name for node in manifest.environment.nodes],
        "size": manifest.size,
        "definitions_only": manifest.definitions_only,
        "test": test and test.name,
        "outcome": test and test.outcome,
        "job": test and test.job,
        "build": test and test.build,
        "tags": manifest.provenance.tags,
    }
