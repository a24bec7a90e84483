"""Who moves an export between ``exports/``, ``deleted/`` and nowhere, does so alone.

A rename takes two steps where a link or a copy comes first, and whoever finds both names completes
it; two that complete each other's renames would leave no name at all. So a mover shows its lease,
which names what it moves, before it looks who else does: at least one of two sees the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from devops_snapshot.errors import ConflictError
from devops_snapshot.remote import Remote

from ..lease import Lease, hold_lease
from ..leases import Holder, Sleep, read_holders, revoke_silent

_TRY_AGAIN = "Try again; what was cut short is given up when it has shown no life for some minutes"


@contextmanager
def move_export(
    remote: Remote, purpose: str, export_id: str, *, sleep: Sleep = time.sleep
) -> Iterator[Lease]:
    """Hold a lease under which nobody else moves this export.

    :raises ConflictError: somebody else is about to
    """
    with hold_lease(remote, {"purpose": purpose, "export": export_id, "moves": export_id}) as lease:
        if in_the_way := _others(remote, lease, {export_id, True}, sleep):
            raise ConflictError(
                f"Export {export_id} is being deleted or undeleted: {in_the_way[0]}",
                hint=_TRY_AGAIN,
            )
        lease.require_alive()
        yield lease


@contextmanager
def move_exports(remote: Remote, purpose: str, *, sleep: Sleep = time.sleep) -> Iterator[Lease]:
    """Hold a lease under which nobody begins to move any export.

    Exports that others were moving before are those that :func:`moved_by_others` then returns.

    :raises ConflictError: somebody else moves all, too
    """
    with hold_lease(remote, {"purpose": purpose, "moves": True}) as lease:
        if in_the_way := _others(remote, lease, {True}, sleep):
            raise ConflictError(
                f"Exports at {remote.url} are being deleted: {in_the_way[0]}", hint=_TRY_AGAIN
            )
        lease.require_alive()
        yield lease


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
