"""``dos.py list-exports``"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...errors import NotFoundError
from ...remote import connect
from ...spool import Queue
from ...store import ExportEntry, Repository, deleted_exports, pinned_by, readable_retention
from ..arguments import add_storage_argument, storage_url
from ..columns import Row, fit, terminal_width
from ..quantities import human_duration
from ..search import Search, add_search_arguments
from ..spool import queue_named, state_of
from ..summary import Summary

_HEADERS = (
    "ID",
    "ENVIRONMENT",
    "TEST",
    "OUTCOME",
    "SNAPSHOTS",
    "DESCRIPTION",
    "HOST",
    "TIME",
    "NODES",
    "SIZE",
    "EXPIRES",
)
_OF_TESTS = ("TEST", "OUTCOME")  # shown where any export has one
_FLEXIBLE = {"ENVIRONMENT", "TEST", "SNAPSHOTS", "DESCRIPTION", "HOST", "EXPIRES"}
_OF_NO_TEST: dict[str, Any] = {
    "test": None,
    "outcome": None,
    "job": None,
    "build": None,
    "tags": {},
}
_DISPENSABLE = ("HOST", "NODES", "TIME", "DESCRIPTION")  # the id tells a time, too


@dataclass(frozen=True)
class _Listed:
    """An export as it is shown.

    :param pinned_by: who pinned it, None if it is not pinned; the pin may not say who
    :param expires: when pruning may remove it; None if it is pinned, or deleted already
    :param is_settled: whether the storage node's settings, which say when it expires, can be read
    :param state: of one that is not on a storage node yet, in words
    """

    entry: ExportEntry
    pinned_by: str | None
    deleted: bool = False
    expires: datetime | None = None
    is_settled: bool = True
    state: str = ""

    @property
    def pinned(self) -> bool:
        return self.pinned_by is not None


class Command(DevopsCommand):
    help = "Show the exports on a storage node, oldest first; times are UTC"
    group = "Exports"
    examples = [
        "dos.py list-exports --storage sftp://devops@storage/srv/devops",
        "dos.py list-exports --env my_env --json",
        "dos.py list-exports --failed --since 2d --test '*ceph*' --tag release=9.1",
        "dos.py list-exports --deleted",
        "dos.py list-exports --local",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_storage_argument(parser)
        add_search_arguments(parser)
        where = parser.add_mutually_exclusive_group()
        where.add_argument(
            "--deleted", action="store_true", help="those that undelete-export can bring back"
        )
        where.add_argument(
            "--local",
            action="store_true",
            help="those that wait in this host's spool to be sent: see export-status",
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["local"]:
            listed, place = _waiting(queue_named(None)), "this host"
        else:
            with connect(storage_url(options, self.stderr.write)) as remote:
                repository, place = Repository.open(remote), remote.url
                listed = _deleted(repository) if options["deleted"] else _existing(repository)
        search = Search.of(options)
        listed = [one for one in listed if search.finds(one.entry)]
        if options["json"]:
            self.json([_document(one) for one in listed])
            return
        if not listed:
            deleted = "deleted " if options["deleted"] else ""
            self.stderr.write(f"There are no {deleted}exports{search} at {place}")
            return
        headers, rows = _table(listed)
        width = terminal_width()
        self.table(*fit(headers, rows, width=width, flexible=_FLEXIBLE, dispensable=_DISPENSABLE))


def _existing(repository: Repository) -> list[_Listed]:
    retention, pins = readable_retention(repository), pinned_by(repository)
    listed = []
    for entry in repository.exports():
        by, expires = pins.get(entry.id), None
        if by is None and retention is not None:
            expires = _later(entry.stored, retention.keeps(entry.keep))
        listed.append(_Listed(entry, by, expires=expires, is_settled=retention is not None))
    return listed


def _deleted(repository: Repository) -> list[_Listed]:
    pins = pinned_by(repository)
    return [
        _Listed(entry, pins.get(entry.id), deleted=True) for entry in deleted_exports(repository)
    ]


def _waiting(queue: Queue) -> list[_Listed]:
    """What the storage node will tell of exports that wait to be sent."""
    listed = []
    for one in queue.overview().waiting:
        job = one.job
        with suppress(NotFoundError):  # sent meanwhile
            summary = queue.summary(job.id)
            entry = ExportEntry(job.id, job.queued, summary, stored=job.queued, keep=job.keep)
            listed.append(_Listed(entry, None, state=state_of(one)))
    return listed


def _later(moment: datetime, time: timedelta) -> datetime | None:
    """Return a moment, or None if it is beyond the end of the calendar."""
    try:
        return moment + time
    except OverflowError:
        return None


def _document(one: _Listed) -> dict[str, Any]:
    """For programs: what was always there, then what the storage node and its settings say."""
    entry = one.entry
    identity = {"id": entry.id, "published": entry.published.isoformat()}
    return {
        **identity,
        **_OF_NO_TEST,  # earlier releases write no such members
        **entry.summary,
        **identity,  # whatever the summary says
        "stored": entry.stored.isoformat(),
        "keep_seconds": None if entry.keep is None else int(entry.keep.total_seconds()),
        "expires": one.expires.isoformat() if one.expires else None,
        "pinned": one.pinned,
        "pinned_by": one.pinned_by or None,
        "deleted": one.deleted,
        "waits": bool(one.state),
    }


def _table(listed: Sequence[_Listed]) -> tuple[Sequence[str], list[Row]]:
    """Headers and rows."""
    now = datetime.now(timezone.utc)
    rows = [_row(one, now) for one in listed]
    tells_tests = any(Summary.of(one.entry.summary).test for one in listed)
    shown = [n for n, name in enumerate(_HEADERS) if tells_tests or name not in _OF_TESTS]
    return [_HEADERS[n] for n in shown], [[row[n] for n in shown] for row in rows]


def _row(one: _Listed, now: datetime) -> Row:
    """One line; what another release did not write into its summary stays empty."""
    told = Summary.of(one.entry.summary)
    return (
        one.entry.id,
        told.environment,
        told.test,
        told.outcome,
        ", ".join(told.snapshots or ["(definitions)"]),
        told.description,
        told.host,
        f"{one.entry.published:%Y-%m-%d %H:%M:%S}",
        len(told.nodes),
        human_size(told.size),
        _expiry(one, now),
    )


def _expiry(one: _Listed, now: datetime) -> str:
    if one.deleted or one.state:
        return one.state or "deleted"
    if one.pinned:
        return f"pinned by {one.pinned_by}" if one.pinned_by else "pinned"
    if not one.is_settled:
        return "unknown"
    if one.expires is None:
        return "never"
    return f"in {human_duration(one.expires - now)}" if one.expires > now else "now"
