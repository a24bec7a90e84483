"""``dos.py show-resources``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand, add_environment_argument
from ...models import Environment, Node

# fuel-devops's words; what it prints under the second last is MiB all the same
HEADERS = ("NAME", "ROLE", "GROUP", "VCPU", "MEMORY,Gb", "STORAGE,Gb")


class Command(DevopsCommand):
    help = "Show the resources that the VMs of an environment consume"
    examples = ["dos.py show-resources my_env"]

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        nodes = Environment.get(name=options["name"]).get_nodes().order_by("name")
        resources = [(node, _resources(node)) for node in nodes]
        totals = [sum(column) for column in zip(*(row for _, row in resources), strict=True)]
        rows = [
            (node.name, node.role, node.group and node.group.name, *map(_shown, row))
            for node, row in resources
        ]
        rows.append(("Total:", "", "", *map(_shown, totals or [0, 0, 0])))
        self.table(HEADERS, rows)


def _resources(node: Node) -> tuple[float, float, float]:
    """CPUs, MiB of memory, GiB of disks."""
    capacities = [volume.params.get("capacity") or 0 for volume in node.get_volumes()]
    return node.params.get("vcpu") or 0, node.params.get("memory") or 0, sum(capacities)


def _shown(number: float) -> float | str:
    return number or "-"
