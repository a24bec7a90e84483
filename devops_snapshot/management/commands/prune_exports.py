"""``dos.py prune-exports``"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console import DevopsCommand, human_size
from ...remote import connect
from ...store import Expired, PrunePlan, Repository, plan_prune, prune
from ..arguments import add_storage_argument, storage_url
from ..columns import fit, terminal_width
from ..quantities import counted, human_duration, size
from ..summary import Summary


class Command(DevopsCommand):
    help = (
        "Delete the exports whose time is over. With --max-size, also as many of the oldest as it "
        "takes to fit. Pinned exports, those that are being imported and those younger than the "
        "repository's minimum age stay. Room comes free with the next storage-collect"
    )
    group = "Exports"
    examples = [
        "dos.py prune-exports --dry-run",
        "dos.py prune-exports --max-size 20T --storage sftp://devops@storage/repository",
    ]
    needs_database = False
    tells_steps = True  # it may have to wait for others, or until it is clear that they died

    def add_arguments(self, parser: CommandParser) -> None:
        add_storage_argument(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="only say what would be deleted, and why"
        )
        parser.add_argument(
            "--max-size",
            type=size,
            metavar="SIZE",
            help="what all exports together may take, such as 500G or 20T (powers of 1024)",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="even if the clocks of the storage node and this host differ by more than a day",
        )
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        with connect(storage_url(options, self.stderr.write)) as remote:
            repository = Repository.open(remote)
            plan = plan_prune(repository, max_size=options["max_size"], force=options["force"])
            deleted = [] if options["dry_run"] else prune(repository, plan)
        if options["json"]:
            self.json(_document(plan, deleted))
        else:
            headers = ("ID", "ENVIRONMENT", "AGE", "REASON")
            rows = [
                (
                    item.entry.id,
                    Summary.of(item.entry.summary).environment,
                    human_duration(item.age),
                    _reason(item),
                )
                for item in plan.expired
            ]
            self.table(*fit(headers, rows, width=terminal_width(), flexible={"ENVIRONMENT"}))
        self.stderr.write(_told(plan, None if options["dry_run"] else len(deleted)))
        if plan.excess:
            self.stderr.write(
                f"What is protected takes {human_size(plan.excess)} more than "
                f"{human_size(options['max_size'])}"
            )


def _reason(item: Expired) -> str:
    return "no room" if item.keep is None else f"kept for {human_duration(item.keep)}"


def _told(plan: PrunePlan, deleted: int | None) -> str:
    number = len(plan.expired) if deleted is None else deleted
    verb = f"{'Would delete' if deleted is None else 'Deleted'} {counted(number, 'export')}"
    kept = len(plan.kept) + len(plan.expired) - number
    return f"{verb}, {kept} stay; storage-collect then frees {human_size(plan.freed)}"


def _document(plan: PrunePlan, deleted: list[str]) -> dict[str, Any]:
    return {
        "expired": [
            {"id": item.entry.id, "age_seconds": item.age.total_seconds(), "reason": _reason(item)}
            for item in plan.expired
        ],
        "kept": [entry.id for entry in plan.kept],
        "deleted": deleted,
        "freed": plan.freed,
        "excess": plan.excess,
    }
