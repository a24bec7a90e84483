"""``dos.py revert-resume``"""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandParser

from ... import snapshot
from ...console import DevopsCommand, add_environment_argument
from ..arguments import (
    TIME_SYNC,
    add_snapshot_argument,
    check_timesync,
    environment_named,
    showing_progress,
    tell_clocks,
    tell_waiting,
)


class Command(DevopsCommand):
    help = (
        "Take an environment back to a snapshot, let its guests run on, "
        "and set their clocks if asked"
    )
    group = "Snapshots"
    examples = [
        "dos.py revert-resume my_env deployed",
        "dos.py revert-resume my_env deployed --timesync",
        "dos.py revert-resume my_env deployed --timesync --skip-sync slave-01,slave-02",
    ]
    changes_environment = True

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        add_snapshot_argument(parser)
        parser.add_argument("--node-name", "-N", help="set the clock of this node only")
        parser.add_argument("--timesync", action="store_true", help="set the guests' clocks")
        parser.add_argument("--skip-sync", "-K", help="nodes whose clocks stay: NAME[,NAME...]")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = environment_named(options["name"])
        if options["timesync"]:
            check_timesync()
        with showing_progress() as progress:
            waits = snapshot.revert(
                environment, options["snapshot_name"], resume=True, progress=progress
            )
        tell_waiting(waits, self.stderr.write)
        if not options["timesync"]:
            tell_clocks(options["name"], snapshot.clocks_behind(environment), self.stderr.write)
        else:
            self.stdout.write("Time synchronization is starting")
            call_command(
                TIME_SYNC,
                options["name"],
                node_name=options["node_name"],
                skip_sync=options["skip_sync"],
            )
