"""``dos.py snapshot-delete``"""

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
    help = (
        "Delete a snapshot: its name, its memory, and the layers that nothing else stands on. "
        "Layers that only one other stands on are merged with it, also while the guests run. "
        "Snapshots that descend from it stay"
    )
    group = "Snapshots"
    examples = [
        "dos.py snapshot-delete my_env deployed",
        "dos.py snapshot-delete my_env deployed --children",
    ]
    changes_environment = True

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        add_snapshot_argument(parser)
        parser.add_argument(
            "--children", action="store_true", help="delete all that descend from it as well"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        with showing_progress() as progress:
            deletion = snapshot.delete(
                environment_named(options["name"]),
                options["snapshot_name"],
                children=options["children"],
                progress=progress,
            )
        if options["children"]:
            self.stderr.write(f"Deleted: {', '.join(deletion.names)}")
        tell_waiting(deletion.waiting, self.stderr.write)
