"""``dos.py snapshot``"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from ... import snapshot
from ...console import DevopsCommand, add_environment_argument
from ..arguments import add_snapshot_argument, environment_named


class Command(DevopsCommand):
    help = (
        "Snapshot all nodes of an environment at one moment, memory of running ones included. "
        "The guests go on afterwards as they were."
    )
    group = "Snapshots"
    examples = ["dos.py snapshot my_env deployed", "dos.py snapshot my_env deployed --suspend"]
    changes_environment = True

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        add_snapshot_argument(parser)
        parser.add_argument("--description", default="", help="free text, kept with the snapshot")
        parser.add_argument(
            "--suspend", action="store_true", help="leave the guests suspended, as fuel-devops does"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        result = snapshot.create(
            environment_named(options["name"]),
            options["snapshot_name"],
            description=options["description"],
            resume=not options["suspend"],
            external=settings.SNAPSHOTS_EXTERNAL,
        )
        if result.longest_freeze is None:
            self.stderr.write(f"Snapshot {result.name}: no guest was running")
            return
        self.stderr.write(
            f"Snapshot {result.name}: guests stood still for {result.longest_freeze:.2f} s"
        )
