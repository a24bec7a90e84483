"""``dos.py revert``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ... import snapshot
from ...console import DevopsCommand, add_environment_argument
from ..arguments import (
    add_snapshot_argument,
    environment_named,
    showing_progress,
    tell_waiting,
)


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
        with showing_progress() as progress:
            waits = snapshot.revert(
                environment, options["snapshot_name"], resume=False, progress=progress
            )
        tell_waiting(waits, self.stderr.write)
