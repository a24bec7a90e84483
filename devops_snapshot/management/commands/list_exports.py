"""``dos.py list-exports``"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...remote import connect
from ...store import ExportEntry, Repository, pinned_exports
from ..arguments import add_storage_argument, storage_url

_HEADERS = (
    "ID",
    "ENVIRONMENT",
    "SNAPSHOTS",
    "DESCRIPTION",
    "HOST",
    "TIME",
    "NODES",
    "SIZE",
    "KEPT UNTIL",
)


class Command(DevopsCommand):
    help = "Show the exports on a storage node, oldest first; times are UTC"
    group = "Exports"
    examples = [
        "dos.py list-exports --storage sftp://devops@storage/srv/devops",
        "dos.py list-exports --env my_env --json",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_storage_argument(parser)
        parser.add_argument("--env", metavar="ENV_NAME", help="only exports of this environment")
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            entries = repository.exports()
            pins = pinned_exports(repository)
            retention = repository.retention
        if options["env"]:
            entries = [e for e in entries if e.summary.get("environment") == options["env"]]
        ends = {
            entry.id: None if entry.id in pins else entry.stored + retention.keeps(entry.keep)
            for entry in entries
        }
        if options["json"]:
            self.json([_document(entry, ends[entry.id]) for entry in entries])
            return
        self.table(_HEADERS, [_row(entry, ends[entry.id]) for entry in entries])


def _document(entry: ExportEntry, end: datetime | None) -> dict[str, Any]:
    return {
        "id": entry.id,
        "published": entry.published.isoformat(),
        "pinned": end is None,
        "kept_until": end.isoformat() if end else None,
        **entry.summary,
    }


def _row(entry: ExportEntry, end: datetime | None) -> tuple[object, ...]:
    """One line; what another release did not write into its summary stays empty."""
    told = entry.summary.get
    return (
        entry.id,
        told("environment", ""),
        ", ".join(told("snapshots") or ["(definitions)"]),
        told("description", ""),
        told("host", ""),
        f"{entry.published:%Y-%m-%d %H:%M:%S}",
        len(told("nodes", ())),
        human_size(told("size", 0)),
        f"{end:%Y-%m-%d %H:%M}" if end else "pinned",
    )
