"""Where objects lie in a repository, and what their names look like."""

from __future__ import annotations

import re
from typing import NewType

LayerId = NewType("LayerId", str)

REPOSITORY = "repository.json"
PACKS, LAYERS, EXPORTS, LEASES = "packs", "layers", "exports", "leases"

_EXPORT = re.compile(r"(\d{8}T\d{6}Z-[0-9a-f]{8})\.json")
_LAYER = re.compile(r"([0-9a-f]{64})\.([0-9a-f]{32})")
_PACK = re.compile(r"[0-9a-f]{32}-\d+")
_ID = re.compile(r"[0-9a-f]{64}")


def export_path(export_id: str) -> str:
    return f"{EXPORTS}/{export_id}.json"


def export_id_of(name: str) -> str | None:
    """Return the export that an entry of ``exports/`` is, or None if it is something else."""
    match = _EXPORT.fullmatch(name)
    return match[1] if match else None


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


def is_layer_object(name: str, layer_id: LayerId) -> bool:
    match = _LAYER.fullmatch(name)
    return match is not None and match[1] == layer_id


def is_pack_name(name: str) -> bool:
    return _PACK.fullmatch(name) is not None


def pack_path(pack: str) -> str:
    return f"{PACKS}/{pack[:2]}/{pack}"


def lease_directory(lease: str) -> str:
    return f"{LEASES}/{lease}"
