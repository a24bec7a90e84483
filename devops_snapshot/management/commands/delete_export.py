"""``dos.py delete-export``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...remote import connect
from ...store import Repository, delete_export
from ..arguments import add_storage_argument, storage_url
from ..chosen import safely_named


class Command(DevopsCommand):
    help = (
        "Delete exports. Their room comes free with the next storage-collect; until then "
        "undelete-export brings them back. A pinned export must be unpinned first"
    )
    group = "Exports"
    examples = [
        "dos.py delete-export 20261122T141503Z-5f2a9c01",
        "dos.py delete-export 20261122T1415 20261121T09 --storage sftp://devops@storage/repository",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "exports", metavar="EXPORT", nargs="+", help="id of an export, or the beginning of one"
        )
        add_storage_argument(parser)
        parser.add_argument("--json", action="store_true", help="for programs: the ids")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            ids = safely_named(options["exports"], [entry.id for entry in repository.exports()])
            for export_id in ids:
                delete_export(repository, export_id)
                self.stderr.write(f"Deleted {export_id}; undelete-export brings it back")
        if options["json"]:
            self.json({"deleted": ids})
