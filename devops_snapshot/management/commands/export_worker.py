"""``dos.py export-worker``"""

from __future__ import annotations

import argparse
import os
import subprocess
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...errors import StorageError
from ...spool import Worker
from ..arguments import showing_progress
from ..quantities import size
from ..spool import add_spool_argument, spool_named

_IDLE = "3"  # of ionice(1)


class Command(DevopsCommand):
    help = (
        "Send the exports that wait in this host's spool ('dos.py export-env --detach'), until "
        "interrupted: those of failed tests first, then the oldest. One worker per host; it needs "
        "no database. What could not be sent is tried again, at most a quarter of an hour later."
    )
    group = "Exports"
    examples = [
        "dos.py export-worker",
        "dos.py export-worker --bwlimit 50M",
        "dos.py export-worker --once",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_spool_argument(parser)
        parser.add_argument(
            "--bwlimit",
            type=_rate,
            metavar="RATE",
            help="bytes a second that are sent at most, such as 50M; default: no limit",
        )
        parser.add_argument(
            "--once",
            action="store_true",
            help="end when each export was tried; exit code 6: some are still there",
        )
        parser.add_argument(
            "--eager",
            action="store_true",
            help="do not give way to other processes (nice 10, IO priority idle)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        spool = spool_named(options["spool"])
        if not options["eager"]:
            _give_way()
        self.stderr.write(f"Sending what is in {spool.directory}")
        with showing_progress() as progress:
            worker = Worker(
                spool, rate=options["bwlimit"], progress=progress, tell=self.stderr.write
            )
            if not worker.run(once=options["once"]):
                raise StorageError(
                    "Not all was sent, as told above", hint="'dos.py export-status' shows the rest"
                )


def _rate(text: str) -> int:
    rate = size(text)
    if not rate:
        raise argparse.ArgumentTypeError("a rate of 0 sends nothing; without one there is no limit")
    return rate


def _give_way() -> None:
    """Whatever else the host does is more urgent."""
    os.nice(10)
    subprocess.run(["ionice", "-c", _IDLE, "-p", str(os.getpid())], check=False)
