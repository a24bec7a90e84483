"""``dos.py env-shell``"""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandParser
from django.db import connections

from ...console import DevopsCommand, add_environment_argument
from ...interrupts import held_back
from ...reach import Inside, entered, run_inside
from ..arguments import environment_named


class Command(DevopsCommand):
    help = (
        "Open a shell, or run a command, in a network namespace that is attached to the networks "
        "of an environment. Its guests are reached by their addresses, also where these networks "
        "are isolated or others on this host have the same. Needs root."
    )
    examples = [
        "dos.py env-shell my_env",
        "dos.py env-shell my_env ssh root@10.109.0.2",
        'sudo -E env "PATH=$PATH" dos.py env-shell my_env',
    ]
    tells_steps = True

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        parser.add_argument(
            "command",
            metavar="COMMAND",
            nargs=argparse.REMAINDER,
            help="with its arguments; default: $SHELL. Its exit code is that of env-shell",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        environment = environment_named(options["name"])
        command = options["command"]
        if command[:1] == ["--"]:
            command = command[1:]
        with held_back() as interrupts, entered(environment, heed=interrupts.heed) as inside:
            interrupts.heed()
            connections.close_all()  # it may be hours
            if not command:
                self._tell(environment.name, inside)
            code = run_inside(inside, environment.name, command)
        if code:
            raise SystemExit(code)

    def _tell(self, name: str, inside: Inside) -> None:
        networks = ", ".join(
            f"{device} {address or 'without address'}" for device, address in inside.networks
        )
        out = f"Out by {inside.way_out}" if inside.way_out else "No way out"
        self.stderr.write(f"{name}: {networks}. {out}. 'exit' ends this")
