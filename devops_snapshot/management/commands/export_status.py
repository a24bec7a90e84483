"""``dos.py export-status``"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...errors import ConflictError, NotFoundError
from ...spool import Job, Spool, Tries, close_records
from ..columns import fit, terminal_width
from ..quantities import counted, human_duration
from ..spool import add_spool_argument, spool_named, state_of

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
        spool = spool_named(options["spool"])
        if options["drop"]:
            self._drop(spool, options["drop"])
        if options["retry"]:
            for job in spool.jobs():
                Tries().write(job)
        while options["wait"] and spool.jobs():
            time.sleep(_LOOK_SECONDS)
        close_records()
        self._show(spool, as_json=options["json"])

    def _show(self, spool: Spool, *, as_json: bool) -> None:
        jobs = spool.jobs()
        if as_json:
            self.json([document(job, spool) for job in jobs])
            return
        if not jobs:
            self.stderr.write("No exports wait to be sent")
            return
        now = datetime.now(timezone.utc)
        rows = [_row(job, spool, now) for job in jobs]
        self.table(
            *fit(
                HEADERS,
                rows,
                width=terminal_width(),
                flexible=_FLEXIBLE,
                dispensable=_DISPENSABLE,
            )
        )
        used = f"{human_size(spool.size())} of {human_size(spool.limit)}"
        self.stderr.write(f"{counted(len(jobs), 'export')} in {spool.directory}, which take {used}")
        if not spool.has_worker():
            self.stderr.write("WARNING: No worker runs on this host: start 'dos.py export-worker'")

    def _drop(self, spool: Spool, export_id: str) -> None:
        for job in spool.jobs():
            if job.id == export_id:
                if not spool.drop(job, "dropped by a user"):
                    raise ConflictError(f"{export_id} is being sent right now")
                self.stderr.write(f"Dropped {export_id}: it was not sent")
                return
        raise NotFoundError(f"No export {export_id!r} waits in {spool.directory}")


def document(job: Job, spool: Spool) -> dict[str, Any]:
    """For programs."""
    tries = Tries.of(job)
    return {
        "id": job.id,
        "environment": job.environment,
        "storage": job.storage,
        "snapshots": list(job.snapshots),
        "test": job.test or None,
        "outcome": job.outcome or None,
        "queued": job.queued.isoformat(),
        "size": job.size,
        "is_being_sent": spool.is_being_sent(job),
        "tries": tries.number,
        "error": tries.error or None,
    }


def _row(job: Job, spool: Spool, now: datetime) -> tuple[object, ...]:
    waits = max(now - job.queued, timedelta())
    return (
        job.id,
        job.environment,
        job.test,
        job.outcome,
        human_duration(waits),
        human_size(job.size),
        state_of(job, spool),
    )
