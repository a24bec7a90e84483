"""All that could keep an export from coming to life here: one module per kind."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from ..findings import Finding, Verdict
from .addresses import check_addresses
from .huge_pages import check_huge_pages
from .links import check_links
from .machine import check_machine, check_versions
from .memory import check_memory
from .names import check_names
from .rights import check_rights
from .scene import InCache, Room, Scene
from .storage import check_storage

__all__ = ["InCache", "Room", "Scene", "check_everything"]

_CHECKS = (
    (check_names, ("environment", "domains", "networks", "network filters")),
    (check_addresses, ("MAC addresses", "subnets", "host routes")),
    (check_links, ("host devices",)),
    (check_storage, ("files", "room")),
    (check_rights, ("rights",)),
    (check_machine, ("emulator", "machine type", "CPU")),
    (check_memory, ("memory",)),
    (check_huge_pages, ("huge pages",)),
    (check_versions, ("versions",)),
)
# Findings of one kind that are named; with more, the reader has seen enough.
_SHOWN = 3


def check_everything(scene: Scene) -> tuple[Finding, ...]:
    """Run every check; a subject without a finding is told to be fine."""
    findings: list[Finding] = []
    for check, subjects in _CHECKS:
        found = sorted(check(scene), key=lambda finding: subjects.index(finding.subject))
        by_subject = {
            subject: list(group) for subject, group in groupby(found, lambda one: one.subject)
        }
        for subject in subjects:
            findings += _few(by_subject.get(subject) or [Finding(subject, Verdict.FINE, "")])
    return tuple(findings)


def _few(findings: list[Finding]) -> list[Finding]:
    """The first ones of a kind, and how many more there are."""
    more = len(findings) - _SHOWN
    if more <= 0:
        return findings
    first = findings[0]
    told = f"and {more} more like that"
    return [*findings[:_SHOWN], replace(first, what=told)]
