"""Who moves an export between ``exports/``, ``deleted/`` and nowhere, does so alone.

A rename takes two steps where a link or a copy comes first, and whoever finds both names completes
it; two that complete each other's renames would leave no name at all. So a mover shows its lease,
which names what it moves, before it looks who else does: at least one of two sees the other.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from devops_snapshot.errors import ConflictError
from devops_snapshot.remote import Remote

from ..format.jsontypes import JSON
from ..lease import Lease, hold_lease
from ..leases import Holder, Sleep, read_holders, revoke_silent

log = logging.getLogger(__name__)

_TRY_AGAIN = "Try again; what was cut short is given up when it has shown no life for some minutes"
_PAUSES = (0.5, 1, 2, 4, 8, 15, 30)  # seconds at most; random, so that two do not meet again


@contextmanager
def move_export(
    remote: Remote, purpose: str, export_id: str, *, wait: bool = True, sleep: Sleep = time.sleep
) -> Iterator[Lease]:
    """Hold a lease under which nobody else moves this export.

    :param wait: for somebody else who does, up to a minute: a collection is done soon
    :raises ConflictError: somebody else is about to
    """
    purposes: dict[str, JSON] = {"purpose": purpose, "export": export_id, "moves": export_id}
    refused = f"Export {export_id} is being deleted or undeleted"
    pauses = _PAUSES if wait else ()
    with _moving(remote, purposes, {export_id, True}, refused, pauses, sleep) as lease:
        yield lease


@contextmanager
def move_exports(remote: Remote, purpose: str, *, sleep: Sleep = time.sleep) -> Iterator[Lease]:
    """Hold a lease under which nobody begins to move any export.

    Exports that others were moving before are those that :func:`moved_by_others` then returns.

    :raises ConflictError: somebody else moves all, too
    """
    purposes: dict[str, JSON] = {"purpose": purpose, "moves": True}
    refused = f"Exports at {remote.url} are being deleted"
    with _moving(remote, purposes, {True}, refused, (), sleep) as lease:
        yield lease


@contextmanager
def _moving(
    remote: Remote,
    purposes: Mapping[str, JSON],
    what: set[str | bool],
    refused: str,
    pauses: Iterable[float],
    sleep: Sleep,
) -> Iterator[Lease]:
    """Hold a lease while nobody else moves that, after as many more tries as there are pauses.

    Nobody waits with a lease in hand: two would wait for each other.
    """
    for pause in (*pauses, None):
        with hold_lease(remote, purposes) as lease:
            in_the_way = _others(remote, lease, what, sleep)
            if not in_the_way:
                lease.require_alive()
                yield lease
                return
        if pause is None:
            raise ConflictError(f"{refused}: {in_the_way[0]}", hint=_TRY_AGAIN)
        log.warning("%s: %s; waiting", refused, in_the_way[0])
        sleep(random.uniform(pause / 2, pause))


def moved_by_others(holders: Iterable[Holder]) -> frozenset[str]:
    """Return the exports that single movers name."""
    return frozenset(holder.moves for holder in holders if isinstance(holder.moves, str))


def _others(remote: Remote, own: Lease, what: set[str | bool], sleep: Sleep) -> list[Holder]:
    """Return the other movers of these exports, and whoever may be one; the dead are revoked."""

    def movers() -> list[Holder]:
        return [
            holder
            for holder in read_holders(remote)
            if holder.lease != own.id and (not holder.is_known or holder.moves in what)
        ]

    found = movers()
    if found and revoke_silent(remote, own, [holder.lease for holder in found], sleep=sleep):
        return movers()
    return found
