"""``dos.py list-exports``"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...remote import connect
from ...store import ExportEntry, Repository, deleted_exports, pinned_by, readable_retention
from ..arguments import add_storage_argument, storage_url
from ..columns import fit, terminal_width
from ..quantities import human_duration
from ..summary import Summary

_HEADERS = (
    "ID",
    "ENVIRONMENT",
    "SNAPSHOTS",
    "DESCRIPTION",
    "HOST",
    "TIME",
    "NODES",
    "SIZE",
    "EXPIRES",
)
_FLEXIBLE = {"ENVIRONMENT", "SNAPSHOTS", "DESCRIPTION", "HOST", "EXPIRES"}
_DISPENSABLE = ("HOST", "NODES", "TIME", "DESCRIPTION")  # the id tells a time, too


@dataclass(frozen=True)
class _Listed:
    """An export as it is shown.

    :param pinned_by: who pinned it, None if it is not pinned; the pin may not say who
    :param expires: when pruning may remove it; None if it is pinned, or deleted already
    :param is_settled: whether the storage node's settings, which say when it expires, can be read
    """

    entry: ExportEntry
    pinned_by: str | None
    deleted: bool = False
    expires: datetime | None = None
    is_settled: bool = True

    @property
    def pinned(self) -> bool:
        return self.pinned_by is not None


class Command(DevopsCommand):
    help = "Show the exports on a storage node, oldest first; times are UTC"
    group = "Exports"
    examples = [
        "dos.py list-exports --storage sftp://devops@storage/srv/devops",
        "dos.py list-exports --env my_env --json",
        "dos.py list-exports --deleted",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_storage_argument(parser)
        parser.add_argument("--env", metavar="ENV_NAME", help="only exports of this environment")
        parser.add_argument(
            "--deleted", action="store_true", help="those that undelete-export can bring back"
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            listed = _deleted(repository) if options["deleted"] else _existing(repository)
        if options["env"]:
            wanted = options["env"]
            listed = [one for one in listed if one.entry.summary.get("environment") == wanted]
        if options["json"]:
            self.json([_document(one) for one in listed])
            return
        if not listed:
            self.stderr.write(_nothing(options, remote.url))
            return
        now = datetime.now(timezone.utc)
        rows = [_row(one, now) for one in listed]
        width = terminal_width()
        self.table(*fit(_HEADERS, rows, width=width, flexible=_FLEXIBLE, dispensable=_DISPENSABLE))


def _nothing(options: dict[str, Any], url: str) -> str:
    deleted = "deleted " if options["deleted"] else ""
    environment = f" of environment {options['env']!r}" if options["env"] else ""
    return f"There are no {deleted}exports{environment} at {url}"


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
        **entry.summary,
        **identity,  # whatever the summary says
        "stored": entry.stored.isoformat(),
        "keep_seconds": None if entry.keep is None else int(entry.keep.total_seconds()),
        "expires": one.expires.isoformat() if one.expires else None,
        "pinned": one.pinned,
        "pinned_by": one.pinned_by or None,
        "deleted": one.deleted,
    }


def _row(one: _Listed, now: datetime) -> Sequence[object]:
    """One line; what another release did not write into its summary stays empty."""
    told = Summary.of(one.entry.summary)
    return (
        one.entry.id,
        told.environment,
        ", ".join(told.snapshots or ["(definitions)"]),
        told.description,
        told.host,
        f"{one.entry.published:%Y-%m-%d %H:%M:%S}",
        len(told.nodes),
        human_size(told.size),
        _expiry(one, now),
    )


def _expiry(one: _Listed, now: datetime) -> str:
    if one.deleted:
        return "deleted"
    if one.pinned:
        return f"pinned by {one.pinned_by}" if one.pinned_by else "pinned"
    if not one.is_settled:
        return "unknown"
    if one.expires is None:
        return "never"
    return f"in {human_duration(one.expires - now)}" if one.expires > now else "now"
