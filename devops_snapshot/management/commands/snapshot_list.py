"""``dos.py snapshot-list``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ... import snapshot
from ...console import DevopsCommand, add_environment_argument
from ..arguments import environment_named, local_time


class Command(DevopsCommand):
    help = "Show the snapshots of an environment, oldest first"
    group = "Snapshots"
    examples = ["dos.py snapshot-list my_env"]

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        listed = snapshot.list_snapshots(environment_named(options["name"]))
        if options["json"]:
            self.json(
                [
                    {
                        "name": item.name,
                        "created": item.created.isoformat(),
                        "description": item.description,
                        "nodes": list(item.nodes),
                    }
                    for item in listed
                ]
            )
            return
        self.table(
            ("SNAPSHOT", "CREATED", "NODES-NAMES"),
            [(item.name, local_time(item.created), ", ".join(item.nodes)) for item in listed],
        )
