"""``dos.py storage-status``"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...remote import connect
from ...store import Repository, Retention, Status, Worker, status
from ...store.health.history import Event
from ..arguments import storage_url
from ..columns import fact, fit, terminal_width
from ..quantities import counted, human_duration
from ..storage_node import add_url_argument, told_retention

_HEADERS = ("AT WORK", "HOST", "PROCESS", "SINCE", "LAST SIGN OF LIFE")


class Command(DevopsCommand):
    help = (
        "Show how a storage node is. That is: room, exports, deduplication, how long the free room "
        "lasts, when it was last collected and verified, and who is at work"
    )
    group = "Storage nodes"
    examples = [
        "dos.py storage-status sftp://devops@storage/repository",
        "dos.py storage-status sftp://devops@storage/repository --json",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_url_argument(parser)
        parser.add_argument("--json", action="store_true", help="for programs: bytes and seconds")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(storage_url(options, self.stderr.write)) as remote:
            found = status(Repository.open(remote))
        if options["json"]:
            self.json(_document(found))
            return
        width = terminal_width()
        for name, value in _facts(found):
            self.stdout.write(fact(name, value, width=width))
        if found.workers:
            self.stdout.write("")
            rows = [_row(worker) for worker in found.workers]
            self.table(*fit(_HEADERS, rows, width=width, flexible={"HOST"}))


def _facts(found: Status) -> Iterator[tuple[str, str]]:
    yield "Storage node", found.url
    yield "Free", "not told by this kind of storage" if found.free is None else _room(found)
    yield "Stored", f"{human_size(found.stored)} in {counted(found.packs, 'pack')}"
    yield (
        "Added",
        f"{human_size(found.stored_per_day)} a day, by the last {human_duration(found.window)}",
    )
    yield "Exports", _exports(found)
    yield (
        "Data in them",
        human_size(found.logical)
        + (f", {found.ratio:.1f} times what is stored" if found.ratio else ""),
    )
    unknown = "unknown, its settings cannot be read"
    yield "Retention", told_retention(found.retention) if found.retention else unknown
    yield "Collected", _when(found.collected, found.now)
    yield "Verified", _when(found.verified, found.now) + _outcome(found.verified)
    yield "All data read", _when(found.data_verified, found.now) + _outcome(found.data_verified)
    if found.damaged:
        yield "Damaged", f"{counted(found.damaged, 'object')}; verify-exports tells what it touches"
    if not found.workers:
        yield "At work", "nobody"


def _room(found: Status) -> str:
    assert found.free is not None, "told by this kind of storage"
    lasts = f", lasts {human_duration(found.lasts)} at the present rate" if found.lasts else ""
    return human_size(found.free) + lasts


def _exports(found: Status) -> str:
    expired = "an unknown number" if found.expired is None else found.expired
    return (
        f"{found.exports}, of these {found.pinned} pinned, {expired} expired; "
        f"{found.deleted} deleted that can be undeleted"
    )


def _when(event: Event | None, now: datetime) -> str:
    if event is None:
        return "never"
    return f"{human_duration(now - event.when)} ago ({event.when:%Y-%m-%d %H:%M:%S} UTC)"


def _outcome(event: Event | None) -> str:
    if event is None:
        return ""
    findings = event.facts.get("findings", 0)
    return f", {counted(findings, 'damaged object')}" if findings else ", no damage"


def _row(worker: Worker) -> tuple[object, ...]:
    holder = worker.holder
    silent = human_duration(worker.silent) + " ago" + (", dead?" if worker.seems_dead else "")
    return holder.purpose, holder.host, holder.process, _without_zone(holder.taken), silent


def _without_zone(taken: str) -> str:
    """The moment as all others are told; what is none, as it is."""
    try:
        return f"{datetime.fromisoformat(taken).astimezone(timezone.utc):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return taken


def _document(found: Status) -> dict[str, Any]:
    return {
        "url": found.url,
        "id": found.id,
        "free": found.free,
        "stored": found.stored,
        "packs": found.packs,
        "stored_per_day": found.stored_per_day,
        "lasts_seconds": found.lasts.total_seconds() if found.lasts else None,
        "exports": found.exports,
        "pinned": found.pinned,
        "expired": found.expired,
        "deleted": found.deleted,
        "logical": found.logical,
        "ratio": round(found.ratio, 3) if found.ratio else None,
        **(found.retention.encode() if found.retention else dict.fromkeys(Retention().encode())),
        "collected": _event(found.collected, found.now),
        "verified": _event(found.verified, found.now),
        "data_verified": _event(found.data_verified, found.now),
        "damaged": found.damaged,
        "leases": [
            {
                "purpose": worker.holder.purpose,
                "host": worker.holder.host,
                "process": worker.holder.process,
                "since": worker.holder.taken,
                "export": worker.holder.export,
                "silent_seconds": worker.silent.total_seconds(),
                "seems_dead": worker.seems_dead,
            }
            for worker in found.workers
        ],
    }


def _event(event: Event | None, now: datetime) -> dict[str, Any] | None:
    if event is None:
        return None
    age = max(0.0, (now - event.when).total_seconds())
    return {"when": event.when.isoformat(), "age_seconds": age, **event.facts}
