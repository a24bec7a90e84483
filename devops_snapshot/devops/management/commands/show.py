"""``dos.py show``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand, add_environment_argument
from ....errors import NotFoundError, UnsupportedError
from ...models import Environment, Node


class Command(DevopsCommand):
    help = "Show the VMs of an environment"
    examples = ["dos.py show my_env"]

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        nodes = Environment.get(name=options["name"]).get_nodes().order_by("name")
        rows = [(_vnc_port(node), node.name, node.group and node.group.name) for node in nodes]
        self.table(["VNC", "NODE-NAME", "GROUP-NAME"], rows)


def _vnc_port(node: Node) -> int | None:
    """The port; None where there is no screen, no domain or no driver to ask."""
    try:
        port = node.get_vnc_port()
    except (NotFoundError, UnsupportedError):
        return None
    return None if port is None else int(port)
