"""The record of an export, sent now or later, and how long guests stand still for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..models import Export
from ..snapshot.freeze import frozen
from ..write_guard import guarded
from .selection import Selection
from .wanted import Wanted


def new_record(environment: Any, *, storage: str, wanted: Wanted) -> Export:
    """The row of an export that begins.

    :param storage: URL of the storage node
    """
    record: Export = Export.objects.create(
        environment_id=environment.id,
        environment_name=environment.name,
        storage_url=storage,
        definitions_only=wanted.definitions_only,
    )
    return record


@contextmanager
def standing_still(selection: Selection, record: Export) -> Iterator[None]:
    """Inside, nobody writes to the files; guests stop only where they would.

    Suspending makes QEMU flush its caches; a file that a guest writes to would be read stale.
    """
    at_hand = [path for path in selection.sealed if selection.stored.find(path).is_at_hand]
    with frozen(selection.written_to) as freeze, guarded(at_hand):
        yield
    if freeze.longest is not None:
        record.freeze_seconds = max(freeze.longest, record.freeze_seconds or 0.0)
