"""``dos.py time-sync``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand, add_environment_argument
from ....errors import DevopsError
from ...models import Environment
from ...timesync import sync_time


class Command(DevopsCommand):
    help = "Set the clocks of the running VMs of an environment, that of the admin node first"
    examples = [
        "dos.py time-sync my_env",
        "dos.py time-sync my_env --skip-sync slave-01,slave-02",
    ]

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        parser.add_argument("--node-name", "-N", help="set the clock of this node only")
        parser.add_argument("--skip-sync", "-K", help="nodes whose clocks stay: NAME[,NAME...]")

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.get(name=options["name"])
        only, skip = options["node_name"], options["skip_sync"] or ""
        results = sync_time(environment, node_names=only and [only], skip=skip.split(","))
        if not results:
            self.stderr.write("No node is running")
        for result in results:
            if not result.error:
                self.stdout.write(f"Current time on {result.node_name!r} = {result.before}")
        for result in results:
            if not result.error:
                self.stdout.write(f"New time on {result.node_name!r} = {result.after}")
        failures = [f"{result.node_name} ({result.error})" for result in results if result.error]
        if failures:
            raise DevopsError(f"The clock was not set on {', '.join(failures)}")
