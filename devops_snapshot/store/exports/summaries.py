"""Summaries: first lines of many exports in one object, so that a listing reads few objects.

``summaries/<lease>[-<n>]`` is a sealed object. Its body is one zstd frame of lines, byte for byte
as in the objects of the exports, so each line carries its own checksum. A summary does not say
which exports exist: that is what the listing of ``exports/`` is for.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Set

from devops_snapshot.errors import FormatError, NotFoundError
from devops_snapshot.remote import Remote

from ..batches import list_batches, remove_batches
from ..format.features import require_known
from ..format.frame import compress, decompress
from ..format.jsontypes import JSON
from ..format.names import DELETED, EXPORTS, export_id_of
from ..format.sealed import damaged, seal, unseal, well_formed
from ..lease import Lease

log = logging.getLogger(__name__)

SUMMARIES = "summaries"
LONGEST_LINE = 256 << 10  # bytes; a longer one stays where it is
_FULL = 8 << 20  # bytes of lines in an object that is large enough
_SMALL = _FULL // 2  # bytes of lines; what is smaller is merged
_LIMIT = 64 << 20  # bytes of lines; no object has more
_EXPORT = re.compile(rb'"export":"(\d{8}T\d{6}Z-[0-9a-f]{8})"')


def encode_summary(lines: Iterable[bytes]) -> bytes:
    """Return a sealed object."""
    plain = b"".join(lines)
    head: dict[str, JSON] = {"features": [], "size": len(plain)}
    return seal("summary", head, compress(plain))


def decode_summary(data: bytes, where: str) -> dict[str, bytes]:
    """Return lines by the ids of exports; the lines themselves are not checked.

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


def write_summary(lease: Lease, remote: Remote, lines: Iterable[bytes]) -> None:
    """Write a new object, or several if there is much to tell."""
    _write(lease, _unused_names(lease, remote), lines)


def merge_summaries(lease: Lease, remote: Remote) -> None:
    """Make few objects of many, without exports that are gone for good."""
    exports = _existing(remote)
    merged, told = _to_merge(remote, exports)
    _write(lease, _unused_names(lease, remote), _collect(remote, merged, exports - told))
    remove_batches(remote, SUMMARIES, merged)


def _existing(remote: Remote) -> Set[str]:
    names = [entry.name for directory in (EXPORTS, DELETED) for entry in remote.list(directory)]
    return set(filter(None, map(export_id_of, names)))


def _to_merge(remote: Remote, exports: Set[str]) -> tuple[list[str], set[str]]:
    """Return the objects to be merged, and the exports that others tell of.

    Those that are small are merged, and those that tell mostly of exports that are gone.
    """
    small: dict[str, Set[str]] = {}
    dying: list[str] = []
    told: set[str] = set()
    for entry in list_batches(remote, SUMMARIES):
        lines = load_summary(remote, entry.name)
        if lines is None:
            continue
        if len(lines.keys() & exports) * 2 < len(lines):
            dying.append(entry.name)
        elif sum(map(len, lines.values())) < _SMALL:
            small[entry.name] = lines.keys()
        else:
            told.update(lines)
    if len(small) + len(dying) < 2:  # nothing to merge it with
        return dying, told.union(*small.values())
    return [*dying, *small], told


def _collect(remote: Remote, names: Iterable[str], exports: Set[str]) -> Iterator[bytes]:
    """Yield the lines of some exports, each once, out of some objects."""
    told: set[str] = set()
    for name in names:
        lines = load_summary(remote, name) or {}
        yield from (lines[key] for key in lines.keys() & exports - told)
        told.update(lines)


def _write(lease: Lease, names: Iterator[str], lines: Iterable[bytes]) -> None:
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and size + len(line) > _FULL:
            lease.write(f"{SUMMARIES}/{next(names)}", [encode_summary(part)])
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        lease.write(f"{SUMMARIES}/{next(names)}", [encode_summary(part)])


def _unused_names(lease: Lease, remote: Remote) -> Iterator[str]:
    taken = {entry.name for entry in remote.list(SUMMARIES)}
    names = (f"{lease.id}-{number}" for number in itertools.count())
    return (name for name in names if name not in taken)
