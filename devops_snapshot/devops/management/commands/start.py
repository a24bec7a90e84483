"""``dos.py start``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand, add_environment_argument
from ...libvirt.support import check_startable
from ...models import Environment


class Command(DevopsCommand):
    help = "Start the networks and all VMs of an environment"
    examples = ["dos.py start my_env"]
    changes_environment = True
    powers = True

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        environment = Environment.get(name=options["name"])
        check_startable(environment)
        environment.start()
