"""``dos.py delete-export``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...remote import connect
from ...store import Repository, delete_export
from ..arguments import add_storage_argument, storage_url
from ..chosen import ID_HELP, add_export_argument, by_id
from ..each import for_each


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
    tells_steps = True  # it may have to wait for others, or until it is clear that they died

    def add_arguments(self, parser: CommandParser) -> None:
        add_export_argument(parser, nargs="+", help=ID_HELP)
        add_storage_argument(parser)
        parser.add_argument("--json", action="store_true", help="for programs: the ids")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)

            def delete(export_id: str) -> None:
                delete_export(repository, export_id)
                self.stderr.write(f"Deleted {export_id}; undelete-export brings it back")

            outcome = for_each(
                options["exports"],
                find=by_id([entry.id for entry in repository.exports()]),
                act=delete,
                participle="deleted",
                tell=self.stderr.write,
            )
        if options["json"]:
            self.json(outcome.document())
        outcome.raise_failures()
