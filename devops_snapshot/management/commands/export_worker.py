"""``dos.py export-worker``"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...errors import DevopsError, NotFoundError, StorageError
from ...importer.target import Target
from ...remote.url import parse
from ...spool import GROUP, Desk, Worker, group_id, listening, worker_socket
from ..arguments import showing_progress
from ..quantities import size
from ..spool import add_spool_argument, spool_named

_IDLE = "3"  # of ionice(1)


class Command(DevopsCommand):
    help = (
        "Send the exports that wait in this host's spool ('dos.py export-env --detach'), until "
        "interrupted: those of failed tests first, then the oldest. One worker per host; it needs "
        "no database. What could not be sent is tried again, at most a quarter of an hour later. "
        "As root, it also takes in the exports of users without root, for the storage nodes that "
        "are named here."
    )
    group = "Exports"
    examples = [
        "dos.py export-worker",
        "dos.py export-worker --bwlimit 50M",
        "dos.py export-worker --storage sftp://devops@storage/srv/devops",
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
            "--storage",
            action="append",
            metavar="URL",
            help="a storage node that users without root may send to, by root's keys; can be "
            "repeated; default: $DEVOPS_STORAGE, else none",
        )
        parser.add_argument(
            "--group",
            metavar="NAME",
            help=f"whose members may detach exports without root; default: {GROUP}",
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
        desk = Desk(
            spool,
            _storages(options["storage"]),
            Target.of_this_host().connection_string,
            tell=self.stderr.write,
        )
        group = _group(options["group"])
        listens = os.geteuid() == 0 and not options["once"]
        with showing_progress() as progress:
            worker = Worker(
                spool,
                rate=options["bwlimit"],
                progress=progress,
                tell=self.stderr.write,
                duty=self._duty(desk, group, listens=listens, eager=options["eager"]),
            )
            if not worker.run(once=options["once"]):
                raise StorageError(
                    "Not all was sent, as told above", hint="'dos.py export-status' shows the rest"
                )

    @contextmanager
    def _duty(self, desk: Desk, group: int | None, *, listens: bool, eager: bool) -> Iterator[None]:
        self.stderr.write(f"Sending what is in {desk.spool.directory}")
        with ExitStack() as stack:
            if listens:
                self._listen(stack, desk, group)
            if not eager:
                _give_way()  # threads that answer do not: guests may stand still for them
            yield

    def _listen(self, stack: ExitStack, desk: Desk, group: int | None) -> None:
        """Where that cannot be, the exports that are there are sent all the same."""
        try:
            stack.enter_context(listening(worker_socket(), desk.answer, group=group))
        except DevopsError as error:
            self.stderr.write(f"WARNING: Users without root cannot detach exports: {error}")
            return
        if group is None:
            self.stderr.write(
                f"WARNING: Only root may ask: there is no group {GROUP!r}, see --group"
            )
        places = ", ".join(desk.storages) or "none: --storage names them"
        self.stderr.write(f"Listening at {worker_socket()}, for exports to {places}")


def _storages(given: list[str] | None) -> list[str]:
    """:raises UsageError: one is no storage URL"""
    urls = given or [settings.DEVOPS_STORAGE or ""]
    urls = [url for url in urls if url]
    for url in urls:
        parse(url)
    return urls


def _group(given: str | None) -> int | None:
    """None: there is no group of the usual name, and only root may ask.

    :raises NotFoundError: there is none of the name that was given
    """
    found = group_id(given or GROUP)
    if found is None and given is not None:
        raise NotFoundError(f"there is no group {given!r} on this host")
    return found


def _rate(text: str) -> int:
    rate = size(text)
    if not rate:
        raise argparse.ArgumentTypeError("a rate of 0 sends nothing; without one there is no limit")
    return rate


def _give_way() -> None:
    """Whatever else the host does is more urgent."""
    os.nice(10)
    subprocess.run(["ionice", "-c", _IDLE, "-p", str(os.getpid())], check=False)
