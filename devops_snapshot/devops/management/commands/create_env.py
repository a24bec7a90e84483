"""``dos.py create-env``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ....console import DevopsCommand
from ...creation import create_from_template


class Command(DevopsCommand):
    help = "Create a new environment from a template file"
    examples = ["ENV_NAME=my_env ISO_PATH=/srv/fuel.iso dos.py create-env default.yaml"]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("env_config_name", metavar="TEMPLATE", help="environment template file")

    def handle(self, *args: Any, **options: Any) -> None:
        create_from_template(options["env_config_name"])
