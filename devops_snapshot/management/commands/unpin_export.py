"""``dos.py unpin-export``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...errors import NotFoundError
from ...remote import connect
from ...store import Repository, pinned_exports, unpin_export
from ..arguments import add_storage_argument, storage_url
from ..chosen import LIST_HINT, add_export_argument, by_id
from ..each import for_each


class Command(DevopsCommand):
    help = "Let pinned exports expire as others do"
    group = "Exports"
    examples = ["dos.py unpin-export 20261122T141503Z-5f2a9c01"]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_export_argument(
            parser, nargs="+", help="id of a pinned export, or the beginning of one"
        )
        add_storage_argument(parser)
        parser.add_argument("--json", action="store_true", help="for programs: the ids")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            pinned = pinned_exports(repository)

            def unpin(export_id: str) -> None:
                if export_id not in pinned:
                    raise NotFoundError(f"export {export_id} is not pinned", hint=LIST_HINT)
                unpin_export(repository, export_id)
                self.stderr.write(f"Unpinned {export_id}")

            outcome = for_each(
                options["exports"],
                find=by_id(pinned, what="pinned export"),
                act=unpin,
                participle="unpinned",
                tell=self.stderr.write,
            )
        if options["json"]:
            self.json(outcome.document())
        outcome.raise_failures()
