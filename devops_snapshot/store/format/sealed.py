"""Sealed objects: one line of JSON that carries its own checksum, then an optional body.

Everything in a repository except packs has this form. The line is an object whose first members are
``magic`` and ``version`` and whose last is ``checksum``: the BLAKE3-256 of all the bytes before
``,"checksum":``. Where there is a body, ``body_size`` and ``body_blake3`` describe it. This form is
the same in all versions, so that an unknown version is told from damage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from devops_snapshot.errors import FormatError

from .hashing import digest
from .jsontypes import JSON

_CHECKSUM = b',"checksum":"'
_TAIL_SIZE = len(_CHECKSUM) + 64 + len(b'"}')
_LONGEST_REASON = 300  # characters
_LONGEST_HEAD = 32 << 20  # bytes
_BETWEEN_VALUES = (b",", b"[", b"{")
_MOST_VALUES = 1 << 22  # in a head; each takes up to 100 bytes in memory
UPDATE_HINT = "A newer release of devops_snapshot wrote it: update this one"
DAMAGED_HINT = "What is on the storage node is not what was written there: check its disks"


def seal(kind: str, fields: Mapping[str, JSON], body: bytes | None = None) -> bytes:
    """Return a sealed object of format version 1.

    A lone surrogate, of which :func:`os.fsdecode` makes strings where a file name is not UTF-8,
    has no UTF-8: it is written as JSON's escape ``\\udcXX`` and read back as it was.
    """
    head: dict[str, JSON] = {"magic": f"devops-snapshot {kind}", "version": 1, **fields}
    if body is not None:
        head |= {"body_size": len(body), "body_blake3": digest(body).hex()}
    line = json.dumps(head, ensure_ascii=False, separators=(",", ":"))
    text = line.encode(errors="backslashreplace")[:-1]
    return text + _CHECKSUM + digest(text).hex().encode() + b'"}\n' + (body or b"")


def unseal(kind: str, data: bytes, where: str) -> tuple[dict[str, Any], bytes]:
    """Return head and body of a sealed object.

    :param where: names the object in messages
    :raises FormatError: it is damaged, of another kind or of an unknown version
    """
    start = data.find(b"\n") + 1
    head = unseal_head(kind, data[:start], where)
    body = data[start:]
    if "body_size" not in head:
        if body:
            raise damaged(where, "there are bytes after its end")
        return head, b""
    if len(body) != head["body_size"]:
        raise damaged(where, f"its body has {len(body)} bytes instead of {head['body_size']}")
    if digest(body).hex() != head.get("body_blake3"):
        raise damaged(where, "its body does not match its checksum")
    return head, body


def unseal_head(kind: str, data: bytes, where: str) -> dict[str, Any]:
    """Return the head of a sealed object from its first line, which ends in a newline."""
    end = data.find(b"\n")
    if end < 0:
        raise damaged(where, "it is cut off")
    line = data[:end]
    text, tail = memoryview(line)[:-_TAIL_SIZE], line[-_TAIL_SIZE:]
    if tail != _CHECKSUM + digest(text).hex().encode() + b'"}':
        raise damaged(where, "its head does not match its checksum")
    if end > _LONGEST_HEAD or sum(map(line.count, _BETWEEN_VALUES)) > _MOST_VALUES:
        raise damaged(where, "its head says more than anybody has to say")
    with well_formed(where):
        head: dict[str, Any] = dict(json.loads(line))
    if head.get("magic") != f"devops-snapshot {kind}":
        raise damaged(where, f"it is not a {kind} but {head.get('magic')!r}")
    if head.get("version") != 1:
        raise FormatError(
            f"{where} has format version {str(head.get('version'))[:_LONGEST_REASON]}, known is 1",
            hint=UPDATE_HINT,
        )
    return head


@contextmanager
def well_formed(where: str) -> Iterator[None]:
    """Turn what a missing field, or one of another type, causes into a :class:`FormatError`.

    JSON that is nested too deeply is what the last of these is for.
    """
    try:
        yield
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise damaged(where, f"a field is missing or makes no sense ({error!r})") from error


def damaged(where: str, how: str) -> FormatError:
    """The error for an object whose bytes are not what was written.

    What is wrong may be told in the words of an object as long as a book.
    """
    return FormatError(f"{where} is damaged: {how[:_LONGEST_REASON]}", hint=DAMAGED_HINT)
