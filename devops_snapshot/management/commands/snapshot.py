"""``dos.py snapshot``"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from ... import snapshot
from ...console import DevopsCommand, add_environment_argument
from ..arguments import (
    add_snapshot_argument,
    environment_named,
    names_in,
    showing_progress,
)


class Command(DevopsCommand):
    help = (
        "Snapshot the nodes of an environment at one moment, memory of running ones included. "
        "The guests go on afterwards as they were. If one node cannot be snapshotted, none is."
    )
    group = "Snapshots"
    examples = [
        "dos.py snapshot my_env deployed",
        "dos.py snapshot my_env deployed --suspend",
        "dos.py snapshot my_env before_upgrade --disk-only",
        "dos.py snapshot my_env controllers_up --nodes slave-01,slave-02",
    ]
    changes_environment = True

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        add_snapshot_argument(parser)
        parser.add_argument("--description", default="", help="free text, kept with the snapshot")
        parser.add_argument(
            "--suspend", action="store_true", help="leave the guests suspended, as fuel-devops does"
        )
        parser.add_argument(
            "--disk-only",
            action="store_true",
            help="leave the memory of running guests out, which is faster and smaller; their file "
            "systems are frozen for the moment where a guest agent answers; a revert "
            "leaves them shut off",
        )
        parser.add_argument("--nodes", metavar="NAME[,NAME...]", help="these nodes only")

    def handle(self, *args: Any, **options: Any) -> None:
        with showing_progress() as progress:
            result = snapshot.create(
                environment_named(options["name"]),
                options["snapshot_name"],
                description=options["description"],
                resume=not options["suspend"],
                external=settings.SNAPSHOTS_EXTERNAL,
                disk_only=options["disk_only"],
                nodes=names_in(options["nodes"], option="--nodes"),
                progress=progress,
            )
        self.stderr.write(_told(result))


def _told(result: snapshot.SnapshotResult) -> str:
    if result.longest_freeze is None:
        return f"Snapshot {result.name}: no guest was running"
    line = f"Snapshot {result.name}: guests stood still for {result.longest_freeze:.2f} s"
    if len(result.freeze_seconds) > 1:
        each = (f"{node} {seconds:.2f} s" for node, seconds in result.freeze_seconds.items())
        line += f" ({', '.join(each)})"
    return line
