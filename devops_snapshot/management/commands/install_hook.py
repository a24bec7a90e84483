"""``dos.py install-hook``"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...errors import ConflictError, NotFoundError, UsageError
from ...hooks.installed import Installation, look, own_dos, put, take_out


class Command(DevopsCommand):
    help = (
        "Put the hook for fuel-qa into its virtual environment: the environments of failed tests "
        "are exported from then on, where DEVOPS_STORAGE names a storage node. No line of fuel-qa "
        "changes. The hook calls this dos.py."
    )
    group = "Exports"
    examples = [
        "dos.py install-hook --venv ~/venv-nailgun-tests",
        "dos.py install-hook --venv ~/venv-nailgun-tests --check",
        "dos.py install-hook --venv ~/venv-nailgun-tests --remove",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--venv", required=True, metavar="PATH", help="fuel-qa's virtual environment"
        )
        what = parser.add_mutually_exclusive_group()
        what.add_argument(
            "--check",
            action="store_true",
            help="only say whether it is active; exit code 3: it is not, 4: it has to be renewed",
        )
        what.add_argument("--remove", action="store_true", help="take it out")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["venv"]:  # an empty variable in a script must not mean this directory
            raise UsageError("--venv names no virtual environment")
        venv = Path(os.path.expanduser(options["venv"])).absolute()  # noqa: PTH111 # Path's raises
        if options["remove"]:
            found = take_out(venv)
            self.stdout.write(f"Removed from {venv}" if found else f"There was none in {venv}")
            return
        here = look(venv) if options["check"] else put(venv, own_dos())
        _check(venv, here)
        self.stdout.write(f"Active in {venv} (Python {here.version}): calls {here.dos}")
        if not os.environ.get("DEVOPS_STORAGE"):
            self.stderr.write(
                "WARNING: DEVOPS_STORAGE is not set here: where it is not set for the tests "
                "either, nothing is exported"
            )


def _check(venv: Path, here: Installation) -> None:
    """:raises DevopsError: it is not there, does not work, or is another version's"""
    if here.dos is None:
        raise NotFoundError(
            f"the hook is not active in {venv}",
            hint=f"To install it: dos.py install-hook --venv {venv}",
        )
    if not here.is_current:
        raise ConflictError(
            f"the hook in {venv} is another version's",
            hint=f"To renew it: dos.py install-hook --venv {venv}",
        )
    if not os.access(here.dos, os.X_OK):
        raise ConflictError(
            f"the hook in {venv} calls {here.dos}, which is not there",
            hint=f"To call this one: dos.py install-hook --venv {venv}",
        )
