"""Checking the small sealed objects beside exports and layers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import attrgetter

from devops_snapshot.errors import NotFoundError, StorageError
from devops_snapshot.remote import Remote

from ..format.names import (
    CONDEMNED,
    DAMAGED,
    DELETED,
    HISTORY,
    LEASES,
    PINS,
    SAMPLES,
    SETTINGS,
    SUMMARIES,
)
from ..format.sealed import unseal
from .fault import Fault, fault_of

_FLAT = {  # kind of the objects in a directory, and what they are named like
    SETTINGS: ("settings", r"\d{8}\.json"),
    DELETED: ("export", r"\d{8}T\d{6}Z-[0-9a-f]{8}\.json"),
    PINS: ("pin", r"\d{8}T\d{6}Z-[0-9a-f]{8}"),
    SAMPLES: ("samples", r"[0-9a-f]{32}.*"),
    SUMMARIES: ("summary", r"[0-9a-f]{32}.*"),
    HISTORY: ("history", r"[a-z-]+-[0-9a-f]{32}\.json"),
    DAMAGED: ("damage", r"[0-9a-f]{32}.*\.json"),
}
_NESTED = {  # in a directory of directories
    CONDEMNED: {"objects.json": "condemned", "leases.json": "leases"},
    LEASES: {"lease.json": "lease"},
}


def faults_of_sealed(remote: Remote) -> Iterator[Fault]:
    """Yield what is wrong with objects that no export needs to be imported."""
    for path, kind in _objects(remote):
        try:
            unseal(kind, remote.read(path), f"{kind.capitalize()} {path}")
        except NotFoundError:  # it has done its service
            continue
        except StorageError as error:
            fault = fault_of(kind, path, error, remote)
            if not fault.missing:
                yield fault


def _objects(remote: Remote) -> Iterator[tuple[str, str]]:
    """Yield path and kind of each object; what has another name is nobody's business."""
    for directory, (kind, form) in _FLAT.items():
        for entry in remote.list(directory):
            if not entry.is_directory and re.fullmatch(form, entry.name):
                yield f"{directory}/{entry.name}", kind
    for directory, kinds in _NESTED.items():
        for inner in filter(attrgetter("is_directory"), remote.list(directory)):
            for entry in remote.list(f"{directory}/{inner.name}"):
                if entry.name in kinds:
                    yield f"{directory}/{inner.name}/{entry.name}", kinds[entry.name]
