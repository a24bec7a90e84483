"""``dos.py erase-old``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand
from ...listing import add_lifetime_argument, older_than

QUESTION = "All these environments will be erased, which cannot be undone. Proceed?"


class Command(DevopsCommand):
    help = "Delete the environments that are older than a given time"
    examples = ["dos.py erase-old 3d", "dos.py erase-old 12h --force-cleanup"]

    def add_arguments(self, parser: CommandParser) -> None:
        add_lifetime_argument(parser)
        parser.add_argument(
            "--force-cleanup", action="store_true", help="do not ask for confirmation"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        environments = older_than(options["env_lifetime"])
        if not environments:
            self.stdout.write("Nothing to erase, exiting...")
            return
        for environment in environments:
            self.stdout.write(f"Env {environment.name!r} will be erased!")
        if not options["force_cleanup"] and not self.confirm(QUESTION):
            self.stdout.write("Nothing was erased")
            return
        for environment in environments:
            self.stdout.write(f"Erasing {environment.name!r}...")
            environment.erase()
