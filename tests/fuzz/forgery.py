"""Objects of a repository with other content, and checksums that are right."""

from __future__ import annotations

import json
from typing import Any

from devops_snapshot.store.format.hashing import digest

from . import hostile


def sealed(text: str, body: bytes | None = None) -> bytes:
    """As :func:`devops_snapshot.store.format.sealed.seal`, but of any text."""
    line = text.encode(errors="backslashreplace")[:-1]
    return line + b',"checksum":"' + digest(line).hex().encode() + b'"}\n' + (body or b"")


def head_and_body(data: bytes) -> tuple[dict[str, Any], bytes | None] | None:
    """What a sealed object says, and nothing of another one."""
    line, newline, body = data.partition(b"\n")
    if not newline or not line.startswith(b'{"magic"'):
        return None
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):  # it was changed already
        return None
    del head["checksum"]
    has_body = head.pop("body_size", None) is not None
    head.pop("body_blake3", None)
    return head, body if has_body else None


def resealed(head: Any, body: bytes | None = None) -> bytes:
    """An object of any head, in which there may be :class:`hostile.Raw` text."""
    if body is not None:
        head = {**head, "body_size": len(body), "body_blake3": digest(body).hex()}
    return sealed(hostile.to_json(head), body)


def with_fields(data: bytes, **fields: Any) -> bytes:
    """An object that says something else in its head."""
    parts = head_and_body(data)
    assert parts is not None, "a sealed object"
    head, body = parts
    return resealed({**head, **fields}, body)
