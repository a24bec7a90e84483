"""What exports there are: the live listing decides, and what it shows of each comes from copies.

The first line of an export's object never changes and carries its checksum, so it does not matter
where it was read: from this machine's notes, from a summary, or from the object itself. It tells
how large the object is, too: one that has another size by the listing is damaged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

from devops_snapshot.errors import FormatError, NotFoundError, StorageError
from devops_snapshot.remote import Entry, Remote

from ..batches import list_batches
from ..cache import Cache
from ..format.envelope import LONGEST_HEAD, ExportEntry, decode_entry
from ..format.names import EXPORTS, export_id_of, export_path
from ..lease import Lease
from .summaries import LONGEST_LINE, SUMMARIES, load_summary, write_summary

log = logging.getLogger(__name__)

MANY = 256  # exports in no summary, after which an export writes one
_MOST = 2048  # exports in a summary that an export writes
_FEW = 16  # lines that are read one by one even if a summary might have them
_HEAD_GUESS = 8 * 1024  # bytes; the first line of most exports is shorter
_PARALLEL = 4  # objects read at the same time
_LINES, _SUMMARIES = "export", "summary"  # kinds of notes


class Catalogue:
    """The exports of a repository."""

    def __init__(self, remote: Remote, cache: Cache) -> None:
        self._remote = remote
        self._notes = cache.notes

    def entries(self) -> list[ExportEntry]:
        """Return all readable exports, oldest first; others are named in a warning."""
        listed = self._list()
        self._notes.forget(_LINES, self._notes.names(_LINES) - listed.keys())
        entries = _decode(self._known_lines(listed), listed)
        lacking = {export_id: listed[export_id] for export_id in listed.keys() - entries.keys()}
        entries |= _decode(self._read(lacking), lacking, tell=log.warning)
        return sorted(entries.values(), key=lambda entry: (entry.published, entry.id))

    def write_summary_if_many(self, lease: Lease) -> None:
        """Spare those who list the exports many small reads."""
        try:
            listed = self._list()
            told, _ = self._read_summaries()
            lacking = {key: listed[key] for key in sorted(listed.keys() - told)[:_MOST]}
            if len(lacking) >= MANY:
                lines = self._known_lines(lacking)
                lines |= self._read(lacking.keys() - _decode(lines, lacking).keys())
                sound = _decode(lines, lacking)
                short = [lines[key] for key in sound if len(lines[key]) <= LONGEST_LINE]
                write_summary(lease, self._remote, short)
        except StorageError as error:
            log.info("No summary of exports is written: %s", error)

    def _list(self) -> dict[str, Entry]:
        """Return which exports exist."""
        found = ((export_id_of(entry.name), entry) for entry in self._remote.list(EXPORTS))
        return {export_id: entry for export_id, entry in found if export_id}

    def _known_lines(self, listed: Mapping[str, Entry]) -> dict[str, bytes]:
        """Return lines from notes and, where many are lacking, from summaries."""
        noted = self._notes.all(_LINES)
        lines = {key: noted[key] for key in listed.keys() & noted.keys()}
        if len(listed) - len(lines) > _FEW:
            _, summarised = self._read_summaries()
            fresh = {key: summarised[key] for key in listed.keys() & summarised.keys()}
            self._notes.put(_LINES, fresh)
            lines |= fresh
        return lines

    def _read_summaries(self) -> tuple[set[str], dict[str, bytes]]:
        """Return which exports summaries tell of, and the lines of those not read before."""
        names = {entry.name for entry in list_batches(self._remote, SUMMARIES)}
        noted = self._notes.all(_SUMMARIES)
        self._notes.forget(_SUMMARIES, noted.keys() - names)
        told = {key for name in names & noted.keys() for key in noted[name].decode().split()}
        lines: dict[str, bytes] = {}
        for name in names - noted.keys():
            found = load_summary(self._remote, name) or {}
            self._notes.put(_SUMMARIES, {name: " ".join(found).encode()})
            lines |= found
        return told | lines.keys(), lines

    def _read(self, export_ids: Iterable[str]) -> dict[str, bytes]:
        """Read first lines from the exports themselves."""
        export_ids = list(export_ids)
        with ThreadPoolExecutor(_PARALLEL) as threads:
            found = zip(export_ids, threads.map(self._first_line, export_ids), strict=True)
            lines = {export_id: line for export_id, line in found if line is not None}
        self._notes.put(_LINES, lines)
        return lines

    def _first_line(self, export_id: str) -> bytes | None:
        path = export_path(export_id)
        try:
            data = self._remote.read(path, 0, _HEAD_GUESS)
            if b"\n" not in data:
                data = self._remote.read(path, 0, LONGEST_HEAD)
        except NotFoundError:  # deleted since it was listed
            return None
        line, newline, _ = data.partition(b"\n")
        return line + newline if newline else b""


def _decode(
    lines: Mapping[str, bytes],
    listed: Mapping[str, Entry],
    *,
    tell: Callable[[str], object] = log.debug,
) -> dict[str, ExportEntry]:
    """Return what the lines say, but for those that are damaged or of a later release."""
    entries = {}
    for export_id, line in lines.items():
        found = listed[export_id]
        stored = datetime.fromtimestamp(found.modified, timezone.utc)
        where = f"Export {export_path(export_id)}"
        try:
            entries[export_id] = decode_entry(
                export_id, line, where, stored=stored, size=found.size
            )
        except FormatError as error:
            tell(str(error))
    return entries
