"""All leases of a repository: who is at work, and who seems to be but is dead."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from devops_snapshot.errors import ConflictError, FormatError, NotFoundError
from devops_snapshot.remote import Remote

from .format.names import (
    LEASES,
    REVOKED,
    is_lease_id,
    lease_directory,
    revoked_directory,
)
from .format.sealed import unseal, well_formed
from .lease import BEAT_SECONDS, WATCH_SECONDS, WATCHED_BEATS, Lease

log = logging.getLogger(__name__)

Sleep = Callable[[float], None]

_FRESH_SECONDS = 2 * BEAT_SECONDS  # a beat of this age, by the storage node's clock, shows life
_LONGEST_TEXT = 255  # characters; whoever may write here may write anything
_BEAT = re.compile(r"beat-(\d+)")


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as ``lease.json`` tells.

    :param taken: ISO 8601 in UTC, by the clock of that host
    :param export: the export that must not go away meanwhile
    :param moves: the export that is deleted or undeleted, True if that may be any
    :param is_known: whether ``lease.json`` is not damaged; without, the rest is empty
    """

    lease: str
    purpose: str = ""
    host: str = ""
    process: int = 0
    taken: str = ""
    export: str | None = None
    moves: str | bool | None = None
    is_known: bool = False

    def __str__(self) -> str:
        if not self.is_known:
            return f"somebody (lease {self.lease})"
        return f"{self.purpose} on {self.host} (process {self.process}) since {self.taken}"


@dataclass(frozen=True)
class Pulse:
    """What shows that the holder of a lease lives.

    :param beat: number of the last beat, -1 before the first
    :param modified: when the newest object of the lease was written, by the storage node's clock
    """

    beat: int
    modified: float


def list_leases(remote: Remote) -> list[str]:
    """Return the ids of all leases, also of holders that died."""
    return sorted(entry.name for entry in remote.list(LEASES) if is_lease_id(entry.name))


def read_holder(remote: Remote, lease: str) -> Holder | None:
    """Return who holds a lease, None if it is just being taken or released."""
    path = f"{lease_directory(lease)}/lease.json"
    try:
        head, _ = unseal("lease", remote.read(path), path)
        with well_formed(path):
            return Holder(
                lease=lease,
                purpose=str(head["purpose"])[:_LONGEST_TEXT],
                host=str(head["host"])[:_LONGEST_TEXT],
                process=int(head["process"]),
                taken=str(head["taken"])[:_LONGEST_TEXT],
                export=_export(head.get("export")),
                moves=True if head.get("moves") is True else _export(head.get("moves")),
                is_known=True,
            )
    except NotFoundError:
        return None
    except FormatError as error:
        log.warning("%s", error.message)
        return Holder(lease)


def _export(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("it names something that is not an export")
    return value


def read_holders(remote: Remote) -> list[Holder]:
    return list(filter(None, (read_holder(remote, lease) for lease in list_leases(remote))))


def revoke_dead(remote: Remote, own: Lease, *, sleep: Sleep = time.sleep) -> list[str]:
    """Take the leases away whose holders show no life; return their ids.

    A beat that is fresh by the storage node's own clock shows life. Only where one is not, all such
    are watched together for some beats; no clocks of two machines are compared. Whoever holds a
    lease of the same purpose is in the way, so that one is watched in any case.
    """
    others = [lease for lease in list_leases(remote) if lease != own.id]
    now = own.storage_time() if others else 0.0
    pulses = {lease: pulse for lease in others if (pulse := _pulse(remote, lease))}
    silent = {
        lease: pulse
        for lease, pulse in pulses.items()
        if not _is_fresh(pulse, now) or _has_purpose(remote, lease, own)
    }
    return _watch(remote, silent, sleep)


def revoke_silent(
    remote: Remote, own: Lease, leases: Iterable[str], *, sleep: Sleep = time.sleep
) -> list[str]:
    """Take those of these leases away that show no life; return their ids.

    One with a fresh beat is not watched, so it may be in the way for some time after its end.
    """
    now = own.storage_time()
    pulses = {lease: pulse for lease in leases if (pulse := _pulse(remote, lease))}
    silent = {lease: pulse for lease, pulse in pulses.items() if not _is_fresh(pulse, now)}
    return _watch(remote, silent, sleep)


def _watch(remote: Remote, silent: dict[str, Pulse], sleep: Sleep) -> list[str]:
    """Revoke those of these leases that show no life for some beats."""
    if silent:
        log.info(
            "Watching for up to %.0f s whether others still live: %s",
            WATCH_SECONDS,
            "; ".join(_names_of(remote, silent)),
        )
    for _ in range(WATCHED_BEATS):
        if silent:
            sleep(BEAT_SECONDS)
            silent = {id: pulse for id, pulse in silent.items() if _pulse(remote, id) == pulse}
    return [lease for lease in silent if _revoke(remote, lease)]


def _names_of(remote: Remote, leases: Iterable[str]) -> list[str]:
    return [str(read_holder(remote, lease) or f"lease {lease}") for lease in leases]


def remove_revoked(remote: Remote) -> None:
    """Remove what holders that died have left behind."""
    for entry in remote.list(REVOKED):
        if is_lease_id(entry.name):
            _remove_directory(remote, f"{REVOKED}/{entry.name}")


def require_no_other(remote: Remote, own: Lease, purpose: str) -> None:
    """Refuse while somebody else holds a lease of the same purpose.

    :raises ConflictError: naming who
    """
    for holder in read_holders(remote):
        if holder.purpose == purpose and holder.lease != own.id:
            raise ConflictError(
                f"{remote.url} is at work already: {holder}", hint="Wait for it to end"
            )


def exports_in_use(holders: Iterable[Holder]) -> frozenset[str]:
    return frozenset(holder.export for holder in holders if holder.export)


def _has_purpose(remote: Remote, lease: str, own: Lease) -> bool:
    holder = read_holder(remote, lease)
    return holder is not None and holder.purpose == own.purpose["purpose"]


def _pulse(remote: Remote, lease: str) -> Pulse | None:
    """Return None for a lease that was released since it was listed."""
    directory = lease_directory(lease)
    entries = remote.list(directory)
    if not entries:  # it is just being taken or released
        try:
            entries = [remote.stat(directory)]
        except NotFoundError:
            return None
    beats = (_BEAT.fullmatch(entry.name) for entry in entries)
    return Pulse(
        beat=max((int(beat[1]) for beat in beats if beat), default=-1),
        modified=max(entry.modified for entry in entries),
    )


def _is_fresh(pulse: Pulse, now: float) -> bool:
    return -1 <= now - pulse.modified < _FRESH_SECONDS


def _revoke(remote: Remote, lease: str) -> bool:
    remote.mkdir(REVOKED)
    try:
        remote.revoke(lease_directory(lease), revoked_directory(lease))
    except NotFoundError:  # released meanwhile
        return False
    except ConflictError:  # a delayed request made the directory again, of which all is over
        _remove_directory(remote, revoked_directory(lease))
        remote.revoke(lease_directory(lease), revoked_directory(lease))
    return True


def _remove_directory(remote: Remote, directory: str) -> None:
    for entry in remote.list(directory):
        with suppress(NotFoundError):
            remote.remove(f"{directory}/{entry.name}")
    with suppress(NotFoundError):
        remote.remove(directory)
