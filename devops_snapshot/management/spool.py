"""What the commands for exports that wait to be sent share."""

from __future__ import annotations

from pathlib import Path

from django.core.management.base import CommandParser

from ..importer.target import Target
from ..spool import Job, Spool, Tries, spool_directory
from .quantities import counted


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


def state_of(job: Job, spool: Spool) -> str:
    """In words."""
    if spool.is_being_sent(job):
        return "is being sent"
    tries = Tries.of(job)
    if not tries.number:
        return "waits"
    return f"was tried {counted(tries.number, 'time')}: {tries.error}"
