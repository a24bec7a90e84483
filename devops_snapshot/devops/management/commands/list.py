"""``dos.py list``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand
from ...listing import add_listing_arguments, environment_table
from ...models import Environment


class Command(DevopsCommand):
    help = "Show virtual environments"
    examples = ["dos.py list", "dos.py list --ips --timestamps"]

    def add_arguments(self, parser: CommandParser) -> None:
        add_listing_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        self.table(
            *environment_table(
                Environment.list_all(),
                list_ips=options["list_ips"],
                timestamps=options["timestamps"],
            )
        )
