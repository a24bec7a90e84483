"""``dos.py resume``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand, add_environment_argument
from ...models import Environment


class Command(DevopsCommand):
    help = "Resume all VMs of an environment"
    examples = ["dos.py resume my_env"]
    changes_environment = True
    powers = True

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        Environment.get(name=options["name"]).resume()
