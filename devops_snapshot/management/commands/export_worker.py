"""``dos.py export-worker``"""

from __future__ import annotations

import argparse
import os
import subprocess
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...errors import StorageError
from ...importer.target import Target
from ...spool import Spool, Worker, spool_directory
from ..arguments import showing_progress
from ..quantities import size

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


def add_spool_argument(parser: CommandParser) -> None:
    """The directory of exports that wait (``options["spool"]``)."""
    parser.add_argument(
        "--spool",
        metavar="DIRECTORY",
        help="where exports wait; default: $DEVOPS_SPOOL, else beside the storage pool that "
        "STORAGE_POOL_NAME and CONNECTION_STRING name",
    )


def spool_named(given: str | None) -> Spool:
    """The spool of that directory, or of this host."""
    if given:
        return Spool(Path(given))
    return Spool(spool_directory(Target.of_this_host().directory))


def _rate(text: str) -> int:
    rate = size(text)
    if not rate:
        raise argparse.ArgumentTypeError("a rate of 0 sends nothing; without one there is no limit")
    return rate


def _give_way() -> None:
    """Whatever else the host does is more urgent."""
    os.nice(10)
    subprocess.run(["ionice", "-c", _IDLE, "-p", str(os.getpid())], check=False)
