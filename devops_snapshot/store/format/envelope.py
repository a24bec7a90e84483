"""Exports: the caller's manifest in an envelope that tells the repository which layers it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from devops_snapshot.errors import UnsupportedError

from .features import require_known
from .jsontypes import JSON
from .names import LayerId, is_layer_id
from .sealed import damaged, seal, unseal, unseal_head, well_formed

LONGEST_HEAD = 1 << 20
"""Bytes of the first line of an export's object: it may need some 15000 layers."""

_MOST_BYTES = 1 << 63  # of the files of an export, such as a file system can have


@dataclass(frozen=True)
class ExportEntry:
    """What a listing shows of an export.

    :param published: UTC, by the clock of the exporting host
    :param summary: whatever the exporter gave to ``publish``
    :param stored: UTC, when it was published by the clock of the storage node; ages count from here
    :param keep: for how long, if that is not left to the repository
    :param data: bytes of all its files without holes, if whoever wrote it told
    """

    id: str
    published: datetime
    summary: Mapping[str, Any]
    stored: datetime
    keep: timedelta | None = None
    data: int | None = None


@dataclass(frozen=True)
class Envelope:
    """The object that makes an export exist."""

    layers: Sequence[LayerId]
    manifest: bytes


def encode_envelope(
    *,
    export_id: str,
    published: datetime,
    layers: Sequence[LayerId],
    summary: Mapping[str, JSON],
    manifest: bytes,
    data: int,
    keep: timedelta | None = None,
) -> bytes:
    """Return the sealed object, whose body is the manifest as it was given.

    :raises UnsupportedError: nobody would read it, so long is it
    """
    head: dict[str, JSON] = {
        "features": [],
        "export": export_id,
        "published": published.isoformat(timespec="microseconds"),
        "layers": layers,
        "summary": summary,
        "data": data,
    }
    if keep is not None:
        head["keep_seconds"] = int(keep.total_seconds())
    sealed = seal("export", head, manifest)
    if sealed.index(b"\n") >= LONGEST_HEAD:
        raise UnsupportedError(f"{len(layers)} files are too many for one export")
    return sealed


def decode_envelope(export_id: str, data: bytes, where: str) -> Envelope:
    """Read a whole export object.

    :raises FormatError: it is damaged, is another export, or needs a newer release
    """
    head, manifest = unseal("export", data, where)
    with well_formed(where):
        _check(head, export_id, where)
        return Envelope(_layers(head, where), manifest)


def decode_entry(
    export_id: str, line: bytes, where: str, *, stored: datetime, size: int | None = None
) -> ExportEntry:
    """Read what a listing shows from the first line of an export object.

    :param stored: its modification time, which the object itself cannot tell
    :param size: bytes that the object has by the listing; the line tells how many it must have
    :raises FormatError: it is damaged, is another export, or needs a newer release
    """
    head = unseal_head("export", line, where)
    with well_formed(where):
        _check(head, export_id, where)
        whole = len(line) + head.get("body_size", 0)
        if size not in (None, whole):
            raise damaged(where, f"it has {size} bytes instead of {whole}")
        keep = head.get("keep_seconds")
        return ExportEntry(
            id=export_id,
            published=_moment(head["published"]),
            summary=dict(head["summary"]),
            stored=stored,
            keep=None if keep is None else timedelta(seconds=keep),
            data=_data(head),
        )


def decode_layers(export_id: str, line: bytes, where: str) -> list[LayerId]:
    """Read which layers an export needs from the first line of its object.

    :raises FormatError: it is damaged, is another export, or needs a newer release
    """
    head = unseal_head("export", line, where)
    with well_formed(where):
        _check(head, export_id, where)
        return _layers(head, where)


def _check(head: Mapping[str, Any], export_id: str, where: str) -> None:
    require_known(head["features"], where, "read")
    if head["export"] != export_id:
        raise damaged(where, f"it is export {head['export']}")


def _data(head: Mapping[str, Any]) -> int | None:
    """Earlier releases did not tell."""
    if "data" not in head:
        return None
    data = int(head["data"])
    if not 0 <= data < _MOST_BYTES:
        raise ValueError("no files have so many bytes")
    return data


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment.astimezone(timezone.utc)


def _layers(head: Mapping[str, Any], where: str) -> list[LayerId]:
    if not all(is_layer_id(layer) for layer in head["layers"]):
        raise damaged(where, "it names something that is not a layer")
    return [LayerId(layer) for layer in head["layers"]]
