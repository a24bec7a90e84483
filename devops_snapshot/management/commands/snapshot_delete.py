"""``dos.py snapshot-delete``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ... import snapshot
from ...console import DevopsCommand, add_environment_argument
from ..arguments import add_snapshot_argument, environment_named


class Command(DevopsCommand):
    help = (
        "Delete a snapshot: its name, its memory, and the layers that neither another snapshot "
        "nor the running guest stands on"
    )
    group = "Snapshots"
    examples = ["dos.py snapshot-delete my_env deployed"]
    changes_environment = True

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        add_snapshot_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        snapshot.delete(environment_named(options["name"]), options["snapshot_name"])
