"""``dos.py net-list``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand, add_environment_argument
from ...models import Environment


class Command(DevopsCommand):
    help = "Show the networks of an environment"
    examples = ["dos.py net-list my_env"]

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.get(name=options["name"])
        self.table(
            ["NETWORK NAME", "IP NET"],
            [(pool.name, pool.ip_network) for pool in environment.get_address_pools()],
        )
