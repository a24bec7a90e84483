"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.core.management import get_commands
from django.core.management.base import CommandParser
from rich.progress import Progress as Bars
from rich.progress import TaskID

from ..console import human_size, progress_bars
from ..errors import DevopsError, NotFoundError, UnsupportedError, UsageError
from ..remote.url import parse
from ..snapshot import Waiting
from .quantities import human_duration

TIME_SYNC = "time_sync"
"""The command that sets guests' clocks; it is the ``devops`` app's.

Arguments: the environment's name; ``node_name`` and ``skip_sync``, both optional."""

LONGEST_URL = 1024  # characters; what the records take


def environment_named(name: str) -> Any:
    """The environment's row.

    :raises NotFoundError: the ordinary app's names the database that was asked
    """
    try:
        return apps.get_model("devops", "Environment").get(name=name)
    except ObjectDoesNotExist:
        raise NotFoundError(f"there is no environment {name!r}") from None


def add_snapshot_argument(parser: CommandParser) -> None:
    """The snapshot's name (``options["snapshot_name"]``)."""
    parser.add_argument("snapshot_name", metavar="SNAPSHOT_NAME", help="snapshot name")


def names_in(given: str | None, *, option: str) -> list[str] | None:
    """``NAME[,NAME...]``; None where the option is not given.

    :raises DevopsError: it names nothing: an empty variable in a script must not mean "all"
    """
    if given is None:
        return None
    names = [name for name in given.split(",") if name]
    if not names:
        raise DevopsError(f"{option} {given!r} names nothing")
    return names


def tell_waiting(waits: Sequence[Waiting], tell: Callable[[str], object]) -> None:
    """Say which layers could not be removed or merged yet."""
    for wait in waits:
        tell(f"Not merged yet ({human_size(wait.size)}): {wait}")


def tell_clocks(
    environment: str, behind: Mapping[str, datetime.timedelta], tell: Callable[[str], object]
) -> None:
    """Say how far guests that came back from memory are behind; all were frozen together."""
    late = [node for node, lag in behind.items() if lag.total_seconds() >= 1]
    if late:
        lag = human_duration(max(behind.values()))
        tell(
            f"Clocks are {lag} behind on {', '.join(late)}: "
            f"'dos.py time-sync {quote(environment)}' sets them"
        )


def check_timesync() -> None:
    """To be asked before anything is done that clocks are to be set after.

    :raises UnsupportedError: another app stands in for the ordinary one, and cannot do that
    """
    if TIME_SYNC not in get_commands():
        raise UnsupportedError("clocks cannot be set: the devops app here has no command time_sync")


def add_storage_argument(parser: CommandParser) -> None:
    """The storage node's URL (``options["storage"]``)."""
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="storage node: file:///directory, sftp://user@host/directory or s3://bucket/prefix; "
        "default: $DEVOPS_STORAGE, else a directory under ~/.devops",
    )


def storage_url(options: dict[str, Any], tell: Callable[[str], object]) -> str:
    """The storage node to use; ``tell`` is told when it is only this machine's own directory.

    :raises UsageError: it is no storage URL
    """
    if options["storage"] == "":  # an empty variable in a script must not mean another place
        raise UsageError("the storage URL is empty", hint="Without one, $DEVOPS_STORAGE counts")
    url = str(options["storage"] or settings.DEVOPS_STORAGE or "")
    if len(url) > LONGEST_URL:
        raise UsageError(f"the storage URL has {len(url)} characters, the most is {LONGEST_URL}")
    if url:
        parse(url)
        return url
    directory = Path("~/.devops/storage").expanduser()
    tell(f"No --storage and no DEVOPS_STORAGE: using file://{directory}")
    return f"file://{directory}"


def local_time(moment: datetime.datetime) -> str:
    """An aware moment in the local zone, to the second, as fuel-devops shows it."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


class BarProgress:
    """Shows the stages of an export or import as bars."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def begin(self, what: str, total: int) -> None:
        self._task = self._bars.add_task(what, total=total)

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._bars.advance(self._task, count)


@contextmanager
def showing_progress() -> Iterator[BarProgress]:
    """A listener for exports and imports; silent where standard error is no terminal."""
    with progress_bars() as bars:
        yield BarProgress(bars)
