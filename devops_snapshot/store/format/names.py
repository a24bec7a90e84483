"""Where objects lie in a repository, and what their names look like."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timezone
from typing import NewType

LayerId = NewType("LayerId", str)

REPOSITORY = "repository.json"
PACKS, LAYERS, EXPORTS, LEASES = "packs", "layers", "exports", "leases"
SETTINGS, DELETED, PINS, HISTORY = "settings", "deleted", "pins", "history"
SAMPLES, SUMMARIES = "samples", "summaries"
REVOKED, CONDEMNED, DAMAGED = "revoked", "condemned", "damaged"

#: Made with the repository, so that to delete and to collect takes less room when the disk is full.
DIRECTORIES = (
    *(PACKS, LAYERS, EXPORTS, LEASES),
    *(SETTINGS, DELETED, PINS, HISTORY),
    *(SAMPLES, SUMMARIES),
    *(REVOKED, CONDEMNED, DAMAGED),
)

_EXPORT = re.compile(r"(\d{8}T\d{6}Z-[0-9a-f]{8})\.json")
_LAYER = re.compile(r"([0-9a-f]{64})\.([0-9a-f]{32})")
_PACK = re.compile(r"[0-9a-f]{32}-\d+")
_ID = re.compile(r"[0-9a-f]{64}")
_LEASE = re.compile(r"[0-9a-f]{32}")
_REPOSITORY_ID = re.compile(r"[0-9a-f]{32}")
_EPOCH = re.compile(r"[0-9a-f]{32}(-\d+)?")
_SETTINGS = re.compile(r"(\d{8})\.json")


def is_repository_id(text: str) -> bool:
    """It names a directory of this machine's cache."""
    return _REPOSITORY_ID.fullmatch(text) is not None


def export_path(export_id: str) -> str:
    return f"{EXPORTS}/{export_id}.json"


def deleted_path(export_id: str) -> str:
    return f"{DELETED}/{export_id}.json"


def pin_path(export_id: str) -> str:
    return f"{PINS}/{export_id}"


def export_id_of(name: str) -> str | None:
    """Return the export that an entry of ``exports/`` is, or None if it is something else."""
    match = _EXPORT.fullmatch(name)
    return match[1] if match else None


def new_export_id(lease: str = "") -> str:
    """Return an id that no export has; it tells when it was made, and whose first lease it was."""
    digits = lease[:8] or secrets.token_hex(4)
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{digits}"


def is_export_id(text: str) -> bool:
    return export_id_of(f"{text}.json") is not None


def is_layer_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def layer_directory(layer_id: LayerId) -> str:
    return f"{LAYERS}/{layer_id[:2]}"


def layer_path(layer_id: LayerId, lease: str) -> str:
    """A layer object's name ends in the lease that wrote it.

    The id says what the layer contains; several objects of one id say where its chunks lie.
    """
    return f"{layer_directory(layer_id)}/{layer_id}.{lease}"


def layer_object_path(name: str) -> str:
    """The path of a layer object, from its name ``<layer>.<lease>``."""
    return f"{LAYERS}/{name[:2]}/{name}"


def layer_of_object(name: str) -> LayerId | None:
    """Return the layer that an entry of ``layers/<ab>/`` is an object of, or None."""
    match = _LAYER.fullmatch(name)
    return LayerId(match[1]) if match else None


def lease_of_object(name: str) -> str:
    """Return the lease in the name of a layer object."""
    return name[-32:]


def is_layer_object(name: str, layer_id: LayerId) -> bool:
    match = _LAYER.fullmatch(name)
    return match is not None and match[1] == layer_id


def is_pack_name(name: str) -> bool:
    return _PACK.fullmatch(name) is not None


def lease_of_pack(pack: str) -> str:
    return pack[:32]


def pack_path(pack: str) -> str:
    return f"{PACKS}/{pack[:2]}/{pack}"


def lease_directory(lease: str) -> str:
    return f"{LEASES}/{lease}"


def is_lease_id(name: str) -> bool:
    return _LEASE.fullmatch(name) is not None


def revoked_directory(lease: str) -> str:
    return f"{REVOKED}/{lease}"


def is_epoch(name: str) -> bool:
    return _EPOCH.fullmatch(name) is not None


def epoch_directory(epoch: str) -> str:
    return f"{CONDEMNED}/{epoch}"


def settings_path(number: int) -> str:
    return f"{SETTINGS}/{number:08d}.json"


def settings_number(name: str) -> int | None:
    """Return which settings an entry of ``settings/`` holds, or None if it is something else."""
    match = _SETTINGS.fullmatch(name)
    return int(match[1]) if match else None
