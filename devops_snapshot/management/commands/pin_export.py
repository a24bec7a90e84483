"""``dos.py pin-export``"""

from __future__ import annotations

import socket
from typing import Any

from django.core.management.base import CommandParser

from ...account import user_name
from ...console import DevopsCommand
from ...remote import connect
from ...store import Repository, pin_export, pinned_by
from ..arguments import add_storage_argument, storage_url
from ..chosen import NAME_HELP, add_export_argument, by_name
from ..each import for_each


class Command(DevopsCommand):
    help = "Keep exports until they are unpinned: nothing deletes a pinned export"
    group = "Exports"
    examples = [
        "dos.py pin-export 20261122T141503Z-5f2a9c01",
        "dos.py pin-export latest:my_env --by 'Ann, bug 1234'",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_export_argument(parser, nargs="+", help=NAME_HELP)
        add_storage_argument(parser)
        parser.add_argument(
            "--by", default="", metavar="TEXT", help="who keeps it, and why; default: user@host"
        )
        parser.add_argument("--json", action="store_true", help="for programs: the ids")

    def handle(self, *args: Any, **options: Any) -> None:
        by = options["by"] or f"{user_name()}@{socket.gethostname()}"
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            before = pinned_by(repository)

            def pin(export_id: str) -> None:
                pin_export(repository, export_id, by=by)
                self.stderr.write(_told(export_id, before.get(export_id)))

            outcome = for_each(
                options["exports"],
                find=by_name(repository),
                act=pin,
                participle="pinned",
                tell=self.stderr.write,
            )
        if options["json"]:
            self.json(outcome.document())
        outcome.raise_failures()


def _told(export_id: str, before: str | None) -> str:
    """:param before: who had pinned it already, None if nobody had"""
    if before is None:
        return f"Pinned {export_id}"
    return f"{export_id} was pinned already" + (f", by {before}" if before else "")
