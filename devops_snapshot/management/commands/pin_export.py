"""``dos.py pin-export``"""

from __future__ import annotations

import getpass
import os
import socket
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...remote import connect
from ...store import Repository, pin_export
from ..arguments import add_storage_argument, storage_url
from ..chosen import exports_named


class Command(DevopsCommand):
    help = "Keep exports until they are unpinned: nothing deletes a pinned export"
    group = "Exports"
    examples = [
        "dos.py pin-export 20261122T141503Z-5f2a9c01",
        "dos.py pin-export latest:my_env --by 'Ann, bug 1234'",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("exports", metavar="EXPORT", nargs="+", help="as for import-env")
        add_storage_argument(parser)
        parser.add_argument(
            "--by", default="", metavar="TEXT", help="who keeps it, and why; default: user@host"
        )
        parser.add_argument("--json", action="store_true", help="for programs: the ids")

    def handle(self, *args: Any, **options: Any) -> None:
        by = options["by"] or f"{_user()}@{socket.gethostname()}"
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            ids = exports_named(repository, options["exports"])
            for export_id in ids:
                pin_export(repository, export_id, by=by)
                self.stderr.write(f"Pinned {export_id}")
        if options["json"]:
            self.json({"pinned": ids})


def _user() -> str:
    """The user's name, or the number of one who has none, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.geteuid())
