"""The moment that is exported: snapshots that are there, or one that is taken now."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from .. import snapshot as snapshots
from ..errors import DevopsError
from ..lock import changing, reading
from ..snapshot import SnapshotResult
from .selection import Selection, check_names, select_definitions, select_snapshots
from .supported import check_exportable
from .wanted import Wanted

log = logging.getLogger(__name__)


def check_wanted(environment: Any, wanted: Wanted) -> None:
    """Refuse what cannot be, before a repository or a snapshot is made in vain.

    :raises NotFoundError: a snapshot that is asked for is not there
    :raises UnsupportedError: something of the environment would be lost on the way
    """
    check_exportable(environment)
    if wanted.chooses:
        check_names(environment, wanted.names)


@contextmanager
def chosen(environment: Any, wanted: Wanted) -> Iterator[tuple[Selection, SnapshotResult | None]]:
    """Take a snapshot if one is to be taken; inside, no layer of what was selected goes away."""
    taken = None
    with ExitStack() as until_done:
        with changing(environment.name):
            snapshots.settle(environment)
            if wanted.takes_one:
                name = _name_for_now(environment)
                taken = snapshots.create(environment, name, description=wanted.description)
            until_done.enter_context(reading(environment.name))
        until_done.enter_context(_kept(taken))
        yield _select(environment, wanted, taken), taken


def _select(environment: Any, wanted: Wanted, taken: SnapshotResult | None) -> Selection:
    if wanted.definitions_only:
        return select_definitions(environment)
    now = taken.name if taken else None
    return select_snapshots(environment, wanted.names, every=wanted.all_snapshots, now=now)


def _name_for_now(environment: Any) -> str:
    """``export-<UTC time>``; another of that second gets a number."""
    name = f"export-{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%SZ}"
    taken = {snapshot.name for snapshot in snapshots.list_snapshots(environment)}
    names = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 2)))
    return next(candidate for candidate in names if candidate not in taken)


@contextmanager
def _kept(taken: SnapshotResult | None) -> Iterator[None]:
    """If the export fails, the moment that was caught for it is not lost: say so."""
    try:
        yield
    except DevopsError as error:
        if taken is not None:
            error.hint = ". ".join(filter(None, [error.hint, _told(taken)]))
        raise
    except (KeyboardInterrupt, SystemExit):
        if taken is not None:
            log.warning("%s", _told(taken))
        raise


def _told(taken: SnapshotResult) -> str:
    return f"Snapshot {taken.name!r} was taken and is kept: export it with --snapshot"
