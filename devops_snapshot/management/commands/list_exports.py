"""``dos.py list-exports``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...remote import connect
from ...store import ExportEntry, Repository
from ..arguments import add_storage_argument, storage_url


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
            entries = Repository.open(remote).exports()
        if options["env"]:
            entries = [e for e in entries if e.summary.get("environment") == options["env"]]
        if options["json"]:
            self.json(
                [{"id": e.id, "published": e.published.isoformat(), **e.summary} for e in entries]
            )
            return
        self.table(
            ("ID", "ENVIRONMENT", "SNAPSHOTS", "DESCRIPTION", "HOST", "TIME", "NODES", "SIZE"),
            [_row(entry) for entry in entries],
        )


def _row(entry: ExportEntry) -> tuple[object, ...]:
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
    )
