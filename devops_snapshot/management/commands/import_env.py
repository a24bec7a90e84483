"""``dos.py import-env``"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandParser
from tabulate import tabulate

from ...console import DevopsCommand, human_size
from ...errors import DevopsError
from ...importer import (
    Choices,
    Ending,
    Plan,
    Target,
    Verdict,
    import_environment,
    plan_import,
    recover,
)
from ...models import Import
from ...snapshot import clocks_behind
from ..arguments import (
    TIME_SYNC,
    add_storage_argument,
    check_timesync,
    environment_named,
    names_in,
    showing_progress,
    storage_url,
    tell_clocks,
)
from ..chosen import NAME_HELP, add_export_argument

_HEADERS = ("CHECKED", "RESULT", "FOUND")


class Command(DevopsCommand):
    help = (
        "Bring an export back to life on this host: networks, disks, snapshots, memory and "
        "records. Its guests run on from the moment they were frozen at. Before anything is "
        "touched, everything that could be in the way is looked at."
    )
    group = "Exports"
    examples = [
        "dos.py import-env latest --storage sftp://devops@storage/srv/devops",
        "dos.py import-env latest:my_env --dry-run",
        "dos.py import-env 20261122T141503Z-5f2a9c01 --paused",
        "dos.py import-env latest:my_env --name my_copy --isolated",
    ]

    def add_arguments(self, parser: CommandParser) -> None:
        add_export_argument(parser, help=NAME_HELP)
        add_storage_argument(parser)
        parser.add_argument(
            "--connection", metavar="URI", help="libvirt here; default: $CONNECTION_STRING"
        )
        parser.add_argument(
            "--pool", metavar="NAME", help="storage pool; default: $STORAGE_POOL_NAME, else default"
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="only look, and print what was found; exit code 0: it can come, "
            "4: it can with an option or after an erase, 8: it cannot",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")
        _add_choices(parser)
        _add_endings(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        url = storage_url(options, self.stderr.write)
        if options["timesync"]:
            check_timesync()
        target = Target.of_this_host(connection=options["connection"], pool=options["pool"])
        choices = _choices(options)
        if options["dry_run"]:
            plan = plan_import(options["export"], storage=url, target=target, choices=choices)
            self._print_plan(plan, as_json=options["json"])
            plan.require_possible()
            return
        recovered = recover()
        for earlier in recovered:
            self.stderr.write(str(earlier))
        with showing_progress() as progress:
            record = import_environment(
                options["export"],
                storage=url,
                target=target,
                choices=choices,
                show=self._tell_plan,
                progress=progress,
                recovered=recovered,
            )
        behind = clocks_behind(environment_named(record.environment_name))
        self._print_record(record, behind, as_json=options["json"])
        if options["timesync"]:
            self._set_clocks(record.environment_name)
        elif not options["json"]:
            tell_clocks(record.environment_name, behind, self.stderr.write)

    def _set_clocks(self, name: str) -> None:
        """A guest whose clock cannot be set is named; the import stands."""
        try:
            call_command(TIME_SYNC, name, stdout=self.stderr, stderr=self.stderr)
        except DevopsError as error:
            raise DevopsError(f"{name} is here, but: {error.message}") from error

    def _print_plan(self, plan: Plan, *, as_json: bool) -> None:
        if as_json:
            self.json(_plan_document(plan))
            return
        rows = [(f.subject, f.verdict.value, f.what) for f in plan.findings]
        self.table(_HEADERS, rows)

    def _tell_plan(self, plan: Plan) -> None:
        """On the way: the table for who looks on, else only what is worth knowing."""
        if self.stderr.isatty():
            rows = [(f.subject, f.verdict.value, f.what) for f in plan.findings]
            self.stderr.write(tabulate(rows, headers=_HEADERS, tablefmt="simple"))
            return
        for finding in () if plan.in_the_way else plan.findings:
            if finding.verdict is Verdict.NOTE:
                self.stderr.write(str(finding))

    def _print_record(
        self, record: Import, behind: Mapping[str, timedelta], *, as_json: bool
    ) -> None:
        assert record.finished is not None, "a finished import"
        seconds = (record.finished - record.started).total_seconds()
        if as_json:
            self.json(
                {
                    "id": record.export_id,
                    "environment": record.environment_name,
                    "storage": record.storage_url,
                    "seconds": seconds,
                    "bytes_received": record.bytes_received,
                    "bytes_written": record.bytes_written,
                    "clocks_behind": {node: lag.total_seconds() for node, lag in behind.items()},
                }
            )
            return
        self.stdout.write(record.environment_name)
        self.stderr.write(
            f"Imported {record.environment_name} from {record.export_id} in {seconds:.1f} s: "
            f"received {human_size(record.bytes_received)}, "
            f"wrote {human_size(record.bytes_written)}"
        )


def _add_choices(parser: CommandParser) -> None:
    parser.add_argument(
        "--name",
        metavar="NEW",
        help="bring it as a copy of that name, with names and UUIDs of its own",
    )
    parser.add_argument(
        "--isolated",
        action="store_true",
        help="networks have no address on this host, so that copies can live side by side; "
        "'env-shell' leads into them",
    )
    parser.add_argument(
        "--disks-only",
        action="store_true",
        help="leave memory behind: guests boot from disk, whatever CPU and QEMU is here",
    )
    parser.add_argument(
        "--snapshot", metavar="NAME", help="bring this snapshot alone, and only what it needs"
    )
    parser.add_argument(
        "--timesync", action="store_true", help="set the guests' clocks, as 'time-sync' does"
    )
    parser.add_argument("--nodes", metavar="NAME[,NAME...]", help="bring these nodes alone")


def _choices(options: dict[str, Any]) -> Choices:
    return Choices(
        name=options["name"],
        isolated=options["isolated"],
        disks_only=options["disks_only"],
        snapshot=options["snapshot"],
        nodes=tuple(names_in(options["nodes"], option="--nodes") or ()),
        ending=options["ending"],
        timesync=options["timesync"],
    )


def _add_endings(parser: CommandParser) -> None:
    endings = parser.add_mutually_exclusive_group()
    parser.set_defaults(ending=Ending.RESUME)
    for ending, told in (
        (Ending.PAUSED, "leave the guests paused at the moment they were frozen at"),
        (Ending.START, "start the guests, too, that were off or come without memory"),
        (Ending.DEFINE_ONLY, "leave the guests off; 'revert' wakes them from memory later"),
    ):
        endings.add_argument(
            f"--{ending.value}", dest="ending", action="store_const", const=ending, help=told
        )


def _plan_document(plan: Plan) -> dict[str, Any]:
    return {
        "environment": plan.manifest.environment.name,
        "possible": not plan.in_the_way,
        "options": list(plan.options),
        "findings": [
            {
                "subject": finding.subject,
                "result": finding.verdict.value,
                "found": finding.what,
                "remedy": finding.remedy,
            }
            for finding in plan.findings
        ],
    }
