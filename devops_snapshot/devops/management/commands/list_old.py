"""``dos.py list-old``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand
from ...listing import (
    add_lifetime_argument,
    add_listing_arguments,
    environment_table,
    older_than,
)


class Command(DevopsCommand):
    help = "Show the environments that are older than a given time"
    examples = ["dos.py list-old 12h"]

    def add_arguments(self, parser: CommandParser) -> None:
        add_lifetime_argument(parser)
        add_listing_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        self.table(
            *environment_table(
                older_than(options["env_lifetime"]),
                list_ips=options["list_ips"],
                timestamps=options["timestamps"],
            )
        )
