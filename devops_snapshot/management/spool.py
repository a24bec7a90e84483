"""What the commands for exports that wait to be sent share."""

from __future__ import annotations

from pathlib import Path

from django.core.management.base import CommandParser

from ..errors import DevopsError, UsageError
from ..importer.target import Target
from ..spool import (
    AskedQueue,
    OpenQueue,
    Queue,
    Spool,
    Waiting,
    queue_at,
    spool_directory,
    worker_socket,
)
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
    """The spool of that directory, or of this host.

    :raises UsageError: it is no directory's name
    """
    if given == "":  # an empty variable in a script must not mean another place
        raise UsageError("--spool names no directory", hint="Without it, $DEVOPS_SPOOL counts")
    if given:
        return Spool(Path(given).absolute())
    return Spool(spool_directory(Target.of_this_host().directory))


def queue_named(given: str | None) -> Queue:
    """The exports that wait in that directory, or on this host.

    :raises DevopsError: that directory is not ours to look into
    """
    if given is None and not Target.of_this_host().files_are_ours:
        return AskedQueue(worker_socket())
    spool = spool_named(given)
    if _is_closed(spool.directory):
        raise DevopsError(
            f"{spool.directory} is no directory that is ours to read and write",
            hint="Without --spool, the worker is asked, or the storage pool's spool is taken",
        )
    return OpenQueue(spool)


def _is_closed(directory: Path) -> bool:
    try:
        return directory.exists() and queue_at(directory) is None
    except PermissionError:  # of a directory above
        return True


def state_of(waiting: Waiting) -> str:
    """In words."""
    if waiting.is_being_sent:
        return "is being sent"
    tries = waiting.tries
    if not tries.number:
        return "waits"
    return f"was tried {counted(tries.number, 'time')}: {tries.error}"
