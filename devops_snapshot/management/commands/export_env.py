"""``dos.py export-env``"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, add_environment_argument, human_size
from ...errors import DevopsError
from ...exporter import OUTCOMES, Told, Wanted, export, told
from ...models import Export, State
from ...spool import CannotDetachError, detach, queue_at
from ..arguments import add_storage_argument, environment_named, showing_progress, storage_url
from ..quantities import duration
from ..tags import add_tag_argument


class Command(DevopsCommand):
    help = (
        "Export an environment to a storage node: the chosen snapshots with their ancestors, or, "
        "without a choice, one that is taken now. Only data that is not there yet is sent. "
        "Prints the id of the export."
    )
    group = "Exports"
    examples = [
        "dos.py export-env my_env --storage sftp://devops@storage/srv/devops",
        "dos.py export-env my_env --snapshot deployed,error_ha --with-current",
        "dos.py export-env my_env --all-snapshots --description 'nightly 1234'",
        "dos.py export-env my_env --keep 30d",
        "dos.py export-env my_env --test deploy_ha --outcome failed --tag release=9.1",
        "dos.py export-env my_env --detach",
        "dos.py export-env my_env --definitions-only",
    ]

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        add_storage_argument(parser)
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--snapshot", metavar="NAME[,NAME...]", help="export these snapshots")
        which.add_argument("--all-snapshots", action="store_true", help="export every snapshot")
        which.add_argument(
            "--definitions-only", action="store_true", help="leave out disks and memory"
        )
        parser.add_argument(
            "--with-current",
            action="store_true",
            help="also what was written after the last snapshot, in one that is taken now",
        )
        parser.add_argument("--description", default="", help="free text, shown by list-exports")
        _add_test_arguments(parser)
        parser.add_argument(
            "--keep",
            type=duration,
            metavar="TIME",
            help="for how long the storage node keeps it, such as 48h, 7d or 2w; default: what the "
            "storage node is set to; pin-export keeps it for good",
        )
        parser.add_argument(
            "--detach",
            action="store_true",
            help="return as soon as the environment is not needed any more; 'dos.py export-worker' "
            "sends the export",
        )
        parser.add_argument("--json", action="store_true", help="print the record for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        of = self._told(options)
        environment = environment_named(options["name"])
        wanted = Wanted(
            names=tuple(_names(options["snapshot"])),
            all_snapshots=options["all_snapshots"],
            with_current=options["with_current"],
            definitions_only=options["definitions_only"],
            description=options["description"],
            test=of.test,
            tags=of.tags,
            keep=options["keep"],
        )
        url = storage_url(options, self.stderr.write)
        if options["detach"]:
            record = self._detached(environment, url, wanted)
        else:
            record = _exported(environment, url, wanted)
        if options["json"]:
            self.json(_document(record))
            return
        self.stdout.write(record.export_id)
        self.stderr.write(_report(record))

    def _told(self, options: dict[str, Any]) -> Told:
        """Of which test it is; what of that makes no sense must not keep it from being exported."""
        report = options["test_report"]
        of = told(
            report=None if report is None else _contents(report),
            test=options["test"],
            outcome=options["outcome"],
            tags=dict(options["tag"]),
            environ=os.environ,
        )
        for complaint in of.complaints:
            self.stderr.write(f"WARNING: {complaint}")
        return of

    def _detached(self, environment: Any, url: str, wanted: Wanted) -> Export:
        """In the foreground where it cannot be detached: it is to be exported all the same."""
        try:
            record = detach(environment, storage=url, wanted=wanted)
        except CannotDetachError as error:
            self.stderr.write(
                f"WARNING: Not detached, exporting now: {error.message}. {error.hint}"
            )
            if error.snapshots:
                wanted = replace(
                    wanted, names=error.snapshots, all_snapshots=False, with_current=False
                )
            return _exported(environment, url, wanted, export_id=error.export_id)
        queue = queue_at(Path(record.spool))
        if queue is not None and not queue.has_worker():
            self.stderr.write(
                "WARNING: No worker runs on this host: the export waits for 'dos.py export-worker'"
            )
        return record


def _add_test_arguments(parser: CommandParser) -> None:
    """Of which test it is."""
    parser.add_argument("--test", metavar="NAME", help="the test that it is exported for")
    parser.add_argument("--outcome", choices=OUTCOMES, help="of the test")
    parser.add_argument(
        "--test-report",
        metavar="FILE",
        help="what else is known of the test, and tags, as a JSON document; - is standard input",
    )
    add_tag_argument(parser, help="to find it by")


def _contents(report: str) -> bytes:
    """:raises DevopsError: it cannot be read"""
    if report == "-" and sys.stdin is None:
        raise DevopsError("standard input is closed, from which the test report was to come")
    try:
        return sys.stdin.buffer.read() if report == "-" else Path(report).read_bytes()
    except OSError as error:
        raise DevopsError(f"cannot read the test report {report!r}: {error.strerror}") from error


def _exported(
    environment: Any, url: str, wanted: Wanted, *, export_id: str | None = None
) -> Export:
    with showing_progress() as progress:
        return export(
            environment, storage=url, wanted=wanted, progress=progress, export_id=export_id
        )


def _names(given: str | None) -> list[str]:
    """The snapshots asked for; an empty variable in a script must not mean "one of now"."""
    if given is None:
        return []
    names = [name for name in given.split(",") if name]
    if not names:
        raise DevopsError(
            f"--snapshot {given!r} names no snapshot", hint="Without --snapshot, one is taken now"
        )
    return names


def _report(record: Export) -> str:
    still = "did not stand still"
    if record.freeze_seconds is not None:
        still = f"stood still for {record.freeze_seconds:.2f} s"
    what = ", ".join(record.snapshots) or "definitions only"
    assert record.finished is not None, "a finished export"
    if record.state == State.QUEUED:
        return (
            f"Detached {record.environment_name} ({what}) in "
            f"{(record.finished - record.started).total_seconds():.1f} s: it is not needed any "
            f"more, and the export waits to be sent to {record.storage_url}; guests {still}"
        )
    return (
        f"Exported {record.environment_name} "
        f"({what}) to {record.storage_url} "
        f"in {(record.finished - record.started).total_seconds():.1f} s: "
        f"read {human_size(record.bytes_read)}, sent {human_size(record.bytes_sent)}, "
        f"deduplicated {human_size(record.bytes_deduplicated)}, "
        f"{human_size(record.bytes_unread)} unchanged; guests {still}"
    )


def _document(record: Export) -> dict[str, Any]:
    assert record.finished is not None, "a finished export"
    return {
        "id": record.export_id,
        "state": record.state,
        "environment": record.environment_name,
        "snapshots": record.snapshots,
        "storage": record.storage_url,
        "bytes_read": record.bytes_read,
        "bytes_sent": record.bytes_sent,
        "bytes_deduplicated": record.bytes_deduplicated,
        "bytes_unread": record.bytes_unread,
        "freeze_seconds": record.freeze_seconds,
        "seconds": (record.finished - record.started).total_seconds(),
    }
