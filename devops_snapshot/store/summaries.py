"""Summaries: first lines of many exports in one object, so that a listing reads few objects.

``summaries/<lease>[-<n>]`` is a sealed object. Its body is one zstd frame of lines, byte for byte
as in the objects of the exports, so each line carries its own checksum. A summary does not say
which exports exist: that is what the listing of ``exports/`` is for.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Set

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from .batches import list_batches, remove_batches
from .features import require_known
from .frame import compress, decompress
from .jsontypes import JSON
from .lease import Lease
from .sealed import damaged, seal, unseal, well_formed

log = logging.getLogger(__name__)

SUMMARIES = "summaries"
LONGEST_LINE = 256 << 10  # bytes; a longer one stays where it is
_FULL = 8 << 20  # bytes of lines in an object that is large enough
_SMALL = _FULL // 2  # bytes of lines; what is smaller is merged
_LIMIT = 64 << 20  # bytes of lines; no object has more
_EXPORT = re.compile(rb'"export":"(\d{8}T\d{6}Z-[0-9a-f]{8})"')

Lines = Mapping[str, bytes]  # by the export's id


def encode_summary(lines: Iterable[bytes]) -> bytes:
    """Return a sealed object."""
    plain = b"".join(lines)
    head: dict[str, JSON] = {"features": [], "size": len(plain)}
    return seal("summary", head, compress(plain))


def decode_summary(data: bytes, where: str) -> dict[str, bytes]:
    """Read what :func:`encode_summary` wrote; the lines themselves are not checked.

    :raises FormatError: the object is damaged, or needs a newer release
    """
    head, body = unseal("summary", data, where)
    with well_formed(where):
        require_known(head["features"], where, "read")
        if not 0 <= head["size"] <= _LIMIT:
            raise damaged(where, "its size makes no sense")
        plain = decompress(body, head["size"], where)
    found = ((_EXPORT.search(line), line) for line in plain.splitlines(keepends=True))
    return {match[1].decode(): line for match, line in found if match}


def load_summary(remote: Remote, name: str) -> dict[str, bytes] | None:
    """Return the lines of one object, or None if it is gone or cannot be read."""
    path = f"{SUMMARIES}/{name}"
    try:
        return decode_summary(remote.read(path), f"Summary {path}")
    except NotFoundError:  # merged meanwhile
        return None
    except FormatError as error:
        log.warning("%s; listing takes longer", error.message)
        return None


def write_summary(lease: Lease, remote: Remote, lines: Lines) -> None:
    """Write a new object for some exports."""
    _write(lease, _unused_names(lease, remote), lines)


def merge_summaries(lease: Lease, remote: Remote, exports: Set[str]) -> None:
    """Make few objects of many, without exports that are not in ``exports`` any more."""
    batches = [entry.name for entry in list_batches(remote, SUMMARIES)]
    loaded = {name: lines for name in batches if (lines := load_summary(remote, name)) is not None}
    merged = _to_merge(loaded, exports)
    told = {export for name, lines in loaded.items() if name not in merged for export in lines}
    lines = {
        export: line
        for name in merged
        for export, line in loaded[name].items()
        if export in exports and export not in told
    }
    _write(lease, _unused_names(lease, remote), lines)
    remove_batches(remote, SUMMARIES, merged)


def _to_merge(loaded: Mapping[str, Lines], exports: Set[str]) -> Set[str]:
    """Return the objects that are small, or tell mostly of exports that are gone."""
    small = {name for name, lines in loaded.items() if _size(lines) < _SMALL}
    dying = {name for name, lines in loaded.items() if len(lines.keys() & exports) * 2 < len(lines)}
    return (small if len(small) > 1 else set()) | dying


def _write(lease: Lease, names: Iterator[str], lines: Lines) -> None:
    part: dict[str, bytes] = {}
    for export, line in lines.items():
        if part and _size(part) + len(line) > _FULL:
            lease.write(f"{SUMMARIES}/{next(names)}", [encode_summary(part.values())])
            part = {}
        part[export] = line
    if part:
        lease.write(f"{SUMMARIES}/{next(names)}", [encode_summary(part.values())])


def _unused_names(lease: Lease, remote: Remote) -> Iterator[str]:
    taken = {entry.name for entry in remote.list(SUMMARIES)}
    names = (f"{lease.id}-{number}" for number in itertools.count())
    return (name for name in names if name not in taken)


def _size(lines: Lines) -> int:
    return sum(map(len, lines.values()))
