"""``dos.py node-start``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand, add_environment_argument, add_node_argument
from ...libvirt.support import check_startable
from ...models import Environment


class Command(DevopsCommand):
    help = "Start one VM, and the networks of its environment"
    examples = ["dos.py node-start my_env --node-name slave-01"]
    changes_environment = True
    powers = True

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        add_node_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.get(name=options["name"])
        node = environment.get_node(name=options["node_name"])
        check_startable(environment)
        for group in environment.get_groups():
            group.start_networks()
        node.start()
