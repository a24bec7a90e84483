"""``dos.py undelete-export``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...errors import NotFoundError
from ...remote import connect
from ...store import ExportEntry, Repository, deleted_exports, undelete_export
from ..arguments import add_storage_argument, storage_url
from ..chosen import LIST_DELETED_HINT, add_export_argument, by_id
from ..columns import fit, terminal_width
from ..each import for_each
from ..summary import Summary

_FLEXIBLE = {"ENVIRONMENT", "DESCRIPTION"}


class Command(DevopsCommand):
    help = (
        "Bring deleted exports back. That works until a storage-collect has removed them for good. "
        "Without an argument, show what can be brought back"
    )
    group = "Exports"
    examples = [
        "dos.py undelete-export",
        "dos.py undelete-export 20261122T141503Z-5f2a9c01",
    ]
    needs_database = False
    tells_steps = True  # it may have to wait for others, or until it is clear that they died

    def add_arguments(self, parser: CommandParser) -> None:
        add_export_argument(
            parser, nargs="*", help="id of a deleted export, or the beginning of one"
        )
        add_storage_argument(parser)
        parser.add_argument("--json", action="store_true", help="for programs: the ids")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            deleted = deleted_exports(repository)
            if not options["exports"]:
                self._show(deleted, remote.url, as_json=options["json"])
                return

            def undelete(export_id: str) -> None:
                try:
                    undelete_export(repository, export_id)
                except NotFoundError as error:
                    raise NotFoundError(error.message, hint=LIST_DELETED_HINT) from error
                self.stderr.write(f"{export_id} is back")

            outcome = for_each(
                options["exports"],
                find=by_id(
                    [entry.id for entry in deleted], what="deleted export", hint=LIST_DELETED_HINT
                ),
                act=undelete,
                participle="undeleted",
                tell=self.stderr.write,
            )
        if options["json"]:
            self.json(outcome.document())
        outcome.raise_failures()

    def _show(self, deleted: list[ExportEntry], url: str, *, as_json: bool) -> None:
        if as_json:
            self.json({"deleted": [entry.id for entry in deleted]})
            return
        if not deleted:
            self.stderr.write(f"There are no deleted exports at {url}")
            return
        headers = ("ID", "ENVIRONMENT", "DESCRIPTION", "TIME")
        rows = [
            (
                entry.id,
                Summary.of(entry.summary).environment,
                Summary.of(entry.summary).description,
                f"{entry.published:%Y-%m-%d %H:%M:%S}",
            )
            for entry in deleted
        ]
        self.table(*fit(headers, rows, width=terminal_width(), flexible=_FLEXIBLE))
