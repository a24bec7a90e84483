"""``dos.py revert``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ... import snapshot
from ...console import DevopsCommand, add_environment_argument
from ..arguments import add_snapshot_argument, environment_named


class Command(DevopsCommand):
    help = "Take an environment back to a snapshot and leave its guests paused there"
    group = "Snapshots"
    examples = ["dos.py revert my_env deployed"]
    changes_environment = True

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        add_snapshot_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        environment = environment_named(options["name"])
        snapshot.revert(environment, options["snapshot_name"], resume=False)
