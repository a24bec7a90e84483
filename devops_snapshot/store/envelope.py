"""Exports: the caller's manifest in an envelope that tells the repository which layers it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .features import require_known
from .jsontypes import JSON
from .names import LayerId, is_layer_id
from .sealed import damaged, seal, unseal, unseal_head, well_formed


@dataclass(frozen=True)
class ExportEntry:
    """What a listing shows of an export.

    :param published: UTC, by the clock of the exporting host
    :param summary: whatever the exporter gave to ``publish``
    """

    id: str
    published: datetime
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Envelope:
    """The object that makes an export exist."""

    export: ExportEntry
    layers: Sequence[LayerId]
    manifest: bytes


def encode_envelope(
    *,
    export_id: str,
    published: datetime,
    layers: Sequence[LayerId],
    summary: Mapping[str, JSON],
    manifest: bytes,
) -> bytes:
    """Return the sealed object, whose body is the manifest as it was given."""
    head: dict[str, JSON] = {
        "features": [],
        "export": export_id,
        "published": published.isoformat(timespec="microseconds"),
        "layers": layers,
        "summary": summary,
    }
    return seal("export", head, manifest)


def decode_envelope(export_id: str, data: bytes, where: str) -> Envelope:
    """Read a whole export object.

    :raises FormatError: it is damaged, is another export, or needs a newer release
    """
    head, manifest = unseal("export", data, where)
    with well_formed(where):
        return Envelope(_entry(head, export_id, where), _layers(head, where), manifest)


def decode_entry(export_id: str, line: bytes, where: str) -> ExportEntry:
    """Read what a listing shows from the first line of an export object."""
    head = unseal_head("export", line, where)
    with well_formed(where):
        return _entry(head, export_id, where)


def _entry(head: dict[str, Any], export_id: str, where: str) -> ExportEntry:
    require_known(head["features"], where, "read")
    if head["export"] != export_id:
        raise damaged(where, f"it is export {head['export']}")
    return ExportEntry(export_id, datetime.fromisoformat(head["published"]), head["summary"])


def _layers(head: dict[str, Any], where: str) -> list[LayerId]:
    if not all(is_layer_id(layer) for layer in head["layers"]):
        raise damaged(where, "it names something that is not a layer")
    return [LayerId(layer) for layer in head["layers"]]
