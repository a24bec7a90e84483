"""``dos.py export-status``"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...spool import Queue, Waiting, close_records
from ..columns import fit, terminal_width
from ..quantities import counted, human_duration
from ..spool import add_spool_argument, queue_named, state_of

HEADERS = ("ID", "ENVIRONMENT", "TEST", "OUTCOME", "WAITS", "SIZE", "STATE")
_FLEXIBLE = {"ENVIRONMENT", "TEST", "STATE"}
_DISPENSABLE = ("TEST", "OUTCOME", "SIZE")
_LOOK_SECONDS = 1.0


class Command(DevopsCommand):
    help = "Show the exports that wait in this host's spool to be sent, oldest first"
    group = "Exports"
    examples = [
        "dos.py export-status",
        "dos.py export-status --wait",
        "dos.py export-status --drop 20261122T141503Z-5f2a9c01",
    ]

    def add_arguments(self, parser: CommandParser) -> None:
        add_spool_argument(parser)
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--wait", action="store_true", help="until all are sent")
        what.add_argument("--retry", action="store_true", help="let the worker try all of them now")
        what.add_argument("--drop", metavar="ID", help="give an export up: it is not sent any more")
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        queue = queue_named(options["spool"])
        if options["drop"] is not None:
            queue.drop(options["drop"])
            self.stderr.write(f"Dropped {options['drop']}: it was not sent")
        if options["retry"]:
            queue.retry()
        if options["wait"]:
            self._wait(queue)
        close_records()
        self._show(queue, as_json=options["json"])

    def _show(self, queue: Queue, *, as_json: bool) -> None:
        overview = queue.overview()
        if as_json:
            self.json([document(one) for one in overview.waiting])
            return
        if not overview.waiting:
            self.stderr.write("No exports wait to be sent")
            return
        now = datetime.now(timezone.utc)
        rows = [_row(one, now) for one in overview.waiting]
        self.table(
            *fit(
                HEADERS,
                rows,
                width=terminal_width(),
                flexible=_FLEXIBLE,
                dispensable=_DISPENSABLE,
            )
        )
        used = f"{human_size(overview.size)} of {human_size(overview.limit)}"
        count = counted(len(overview.waiting), "export")
        self.stderr.write(f"{count} in {overview.directory}, which take {used}")
        self._warn_without_worker(queue)

    def _wait(self, queue: Queue) -> None:
        is_told = False
        while queue.overview().waiting:
            is_told = is_told or self._warn_without_worker(queue)
            time.sleep(_LOOK_SECONDS)

    def _warn_without_worker(self, queue: Queue) -> bool:
        """Return whether that was needed."""
        if queue.has_worker():
            return False
        self.stderr.write("WARNING: No worker runs on this host: start 'dos.py export-worker'")
        return True


def document(waiting: Waiting) -> dict[str, Any]:
    """For programs."""
    job, tries = waiting.job, waiting.tries
    return {
        "id": job.id,
        "environment": job.environment,
        "user": job.user,
        "storage": job.storage,
        "snapshots": list(job.snapshots),
        "test": job.test or None,
        "outcome": job.outcome or None,
        "queued": job.queued.isoformat(),
        "size": job.size,
        "is_being_sent": waiting.is_being_sent,
        "tries": tries.number,
        "error": tries.error or None,
    }


def _row(waiting: Waiting, now: datetime) -> tuple[object, ...]:
    job = waiting.job
    waits = max(now - job.queued, timedelta())
    return (
        job.id,
        job.environment,
        job.test,
        job.outcome,
        human_duration(waits),
        human_size(job.size),
        state_of(waiting),
    )
