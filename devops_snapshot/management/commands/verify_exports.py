"""``dos.py verify-exports``"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...errors import FormatError
from ...remote import connect
from ...store import Finding, Repository, VerificationReport, verify
from ..arguments import add_storage_argument, showing_progress, storage_url
from ..chosen import NAME_HELP, add_export_argument, by_name
from ..quantities import counted

_SHOWN = 3  # ids of exports in a line of the table


class Command(DevopsCommand):
    help = (
        "Check that what lies on a storage node is what was written there. Without EXPORT, all of "
        "it. What is damaged is avoided from then on, so a later export of the same data heals "
        "it. The exit code is 7 if anything is damaged"
    )
    group = "Exports"
    examples = [
        "dos.py verify-exports --storage sftp://devops@storage/repository",
        "dos.py verify-exports --read-data",
        "dos.py verify-exports latest:my_env --read-data --json",
    ]
    needs_database = False

    def add_arguments(self, parser: CommandParser) -> None:
        add_export_argument(parser, nargs="*", help=f"{NAME_HELP}; default: all")
        add_storage_argument(parser)
        parser.add_argument(
            "--read-data",
            action="store_true",
            help="read all data, which takes as long as to copy it; without, only what says where "
            "data lies is read",
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            exports = None
            if options["exports"]:
                exports = {*map(by_name(repository), options["exports"])}
            with showing_progress() as progress:
                report = verify(
                    repository, read_data=options["read_data"], exports=exports, progress=progress
                )
        if options["json"]:
            self.json(_document(report))
        else:
            self.table(("KIND", "OBJECT", "WHAT IS WRONG", "EXPORTS"), map(_row, report.findings))
        if report.findings:
            raise FormatError(_summary(report), hint=self._remedy(report.findings))
        self.stderr.write(_looked_at(report, repository.remote.url, all_exports=exports is None))

    def _remedy(self, findings: Sequence[Finding]) -> str:
        """What to do; where that differs, tell it for each kind of object instead."""
        kinds: dict[str, list[str]] = defaultdict(list)
        for finding in findings:
            if finding.kind not in kinds[finding.remedy]:
                kinds[finding.remedy].append(finding.kind)
        if len(kinds) == 1:
            return findings[0].remedy
        for remedy, affected in kinds.items():
            self.stderr.write(f"{', '.join(affected)}: {remedy}")
        return ""


def _row(finding: Finding) -> tuple[str, ...]:
    return finding.kind, finding.object, finding.what, _some(finding.exports)


def _some(exports: Sequence[str]) -> str:
    more = len(exports) - _SHOWN
    return ", ".join(exports[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _summary(report: VerificationReport) -> str:
    return (
        f"{counted(len(report.findings), 'damaged object')}; "
        f"{len(report.damaged_exports)} of {counted(report.exports, 'export')} cannot be imported"
    )


def _looked_at(report: VerificationReport, url: str, *, all_exports: bool) -> str:
    read = f", {human_size(report.bytes_read)} read" if report.bytes_read else ""
    left = ""
    if report.left_over:
        not_needed = "no longer needed" if all_exports else "not needed by what was verified"
        left = f"; {counted(report.left_over, 'damaged object')} {not_needed}"
    if not report.exports:
        return f"No damage; there are no exports at {url}{left}"
    return (
        f"No damage in {counted(report.exports, 'export')} ({counted(report.layers, 'layer')}, "
        f"{counted(report.packs, 'pack')}{read}){left}"
    )


def _document(report: VerificationReport) -> dict[str, Any]:
    return {**dataclasses.asdict(report), "damaged_exports": report.damaged_exports}
