"""``dos.py storage-collect``"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...remote import connect
from ...store import CollectionReport, Repository, collect
from ..arguments import showing_progress, storage_url
from ..quantities import counted
from ..storage_node import add_url_argument


class Command(DevopsCommand):
    help = (
        "Free the room of deleted exports on a storage node, for good. Exports and imports may go "
        "on meanwhile; what one of them may still rely on is left to the next collection"
    )
    group = "Storage nodes"
    examples = [
        "dos.py storage-collect sftp://devops@storage/repository --dry-run",
        "dos.py storage-collect sftp://devops@storage/repository",
    ]
    needs_database = False
    tells_steps = True  # it may have to wait for others, or until it is clear that they died

    def add_arguments(self, parser: CommandParser) -> None:
        add_url_argument(parser)
        parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
        parser.add_argument(
            "--wait",
            action="store_true",
            help="wait for those who are at work now, and then free what they may have relied on",
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            with showing_progress() as progress:
                report = collect(
                    repository,
                    dry_run=options["dry_run"],
                    wait=options["wait"],
                    progress=progress,
                )
        if options["json"]:
            self.json(dataclasses.asdict(report))
            return
        for line in _told(report, dry_run=options["dry_run"]):
            self.stdout.write(line)


def _told(report: CollectionReport, *, dry_run: bool) -> Iterator[str]:
    yield (
        f"{'Would free' if dry_run else 'Freed'} {human_size(report.freed)}: "
        f"{counted(report.packs, 'pack')}, {counted(report.layers, 'layer')}, "
        f"{counted(len(report.discarded), 'deleted export')}"
    )
    if report.repacked:
        packs = counted(report.repacked, "pack")
        yield f"Wrote {human_size(report.copied)} anew, out of {packs} mostly unused"
    if report.waiting:
        yield f"{human_size(report.waiting)} more with the next collection, after these have ended:"
        yield from (f"  {holder}" for holder in report.waiting_for)
    if report.revoked:
        yield f"Took away {counted(len(report.revoked), 'lease')} of clients that have died"
