"""``dos.py sync``"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.management.base import CommandParser

from ...console import DevopsCommand
from ...contract import Environment
from ...errors import ConflictError, DevopsError
from ...importer import recover
from ...journey import close_killed
from ...lock import changing
from ...reach import sweep
from ...snapshot.sync import Finding, Outcome, compare, repair
from ...spool import close_records
from ..arguments import environment_named


class Command(DevopsCommand):
    help = (
        "Report where the database and libvirt differ. What killed imports have left is finished "
        "or removed first.\n\n"
        "With --repair, bring them into step as far as that can be. Nothing that the database does "
        "not know is ever deleted. Exit code 4: differences remain."
    )
    group = "Snapshots"
    examples = ["dos.py sync", "dos.py sync my_env", "dos.py sync my_env --repair"]

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name", metavar="ENV_NAME", nargs="?", help="environment name; default: all"
        )
        parser.add_argument("--repair", action="store_true", help="change what differs")
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        sweep()
        close_killed()
        close_records()
        for killed in recover():
            self.stderr.write(str(killed))
        outcomes = {}
        for environment in _environments(options["name"]):
            outcome = _outcome(environment, change=options["repair"], alone=bool(options["name"]))
            outcomes[environment.name] = outcome
            if not options["json"]:
                self._tell(environment.name, outcome)
        if not outcomes:
            self.stderr.write("There are no environments")
        if options["json"]:
            self.json([_document(name, outcome) for name, outcome in outcomes.items()])
        _complain(
            [f for outcome in outcomes.values() for f in outcome.remaining if f.differs],
            repaired=options["repair"],
        )

    def _tell(self, name: str, outcome: Outcome) -> None:
        for finding in outcome.repaired:
            self.stdout.write(f"{finding.place}: {finding.what}; repaired")
        for finding in outcome.remaining:
            reason = outcome.failed.get(finding)
            failure = f" (which failed: {reason})" if reason else ""
            self.stdout.write(f"{finding}{failure}")
        if not outcome.remaining:
            self.stderr.write(f"{name}: database and libvirt are in step")


def _environments(name: str | None) -> list[Any]:
    if name:
        return [environment_named(name)]
    return list(apps.get_model("devops", "Environment").objects.order_by("name"))


def _outcome(environment: Environment, *, change: bool, alone: bool) -> Outcome:
    """A broken environment does not keep the others from being looked at."""
    try:
        if change:
            with changing(environment.name):
                return repair(environment)
        return Outcome((), tuple(compare(environment)), {})
    except DevopsError as error:
        if alone:
            raise
        broken = Finding(environment.name, "", "broken", f"cannot be looked at: {error}", "")
        return Outcome((), (broken,), {})


def _document(name: str, outcome: Outcome) -> dict[str, Any]:
    return {
        "environment": name,
        "repaired": [_finding(finding, outcome) for finding in outcome.repaired],
        "remaining": [_finding(finding, outcome) for finding in outcome.remaining],
    }


def _finding(finding: Finding, outcome: Outcome) -> dict[str, Any]:
    return {
        "node": finding.node or None,
        "kind": finding.kind,
        "what": finding.what,
        "remedy": finding.remedy,
        "repairable": finding.repair is not None,
        "differs": finding.differs,
        "failure": outcome.failed.get(finding),
    }


def _complain(remaining: list[Finding], *, repaired: bool) -> None:
    """:raises ConflictError: differences remain"""
    if not remaining:
        return
    many = len(remaining) > 1
    remain = f"{len(remaining)} difference{'s' if many else ''} between database and libvirt "
    remain += "remain" if many else "remains"
    hint = ""
    if not repaired and any(finding.repair for finding in remaining):
        hint = "'dos.py sync --repair' repairs what can be"
    raise ConflictError(remain, hint=hint)
