"""``dos.py node-destroy``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand, add_environment_argument, add_node_argument
from ...models import Environment


class Command(DevopsCommand):
    help = "Switch off one VM at once"
    examples = ["dos.py node-destroy my_env --node-name slave-01"]
    changes_environment = True
    powers = True

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        add_node_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.get(name=options["name"])
        node = environment.get_node(name=options["node_name"])
        node.destroy()
