"""Comparing an environment with its database, and repairing what can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import libvirt
from django.db import DatabaseError

from ...connection import one_line
from ...contract import Environment
from ...errors import DevopsError
from ..settle import keep_promises, settle
from .disks import moved_disks, moved_layers, thawed_layers, unknown_layers
from .domains import gone_domains
from .files import empty_rows, missing_files, stray_memories
from .finding import Finding
from .leftovers import unfinished_snapshots, waiting_layers
from .seen import Seen, look
from .snapshots import distorted_snapshots, forgotten_snapshots, unrecorded_snapshots

Stage = Callable[[Sequence[Seen]], Iterator[Finding]]

STAGES: tuple[Stage, ...] = (
    unfinished_snapshots,
    gone_domains,
    moved_disks,
    moved_layers,
    unknown_layers,
    forgotten_snapshots,
    distorted_snapshots,
    unrecorded_snapshots,
    thawed_layers,
    missing_files,
    empty_rows,
    stray_memories,
    waiting_layers,
)
"""In the order of repair: each relies on what the earlier ones have brought into step."""


@dataclass(frozen=True)
class Outcome:
    """What a repair has done.

    :param repaired: findings that are none any more
    :param remaining: what is found now
    :param failed: why a repair did not work, by the finding
    """

    repaired: tuple[Finding, ...]
    remaining: tuple[Finding, ...]
    failed: dict[Finding, str]


def compare(environment: Environment) -> list[Finding]:
    """Where database and libvirt differ; nothing is changed.

    :raises DevopsError: libvirt does not answer
    """
    nodes = look(environment)
    return [finding for stage in STAGES for finding in stage(nodes)]


def repair(environment: Environment) -> Outcome:
    """Bring them into step as far as that can be; to be called while the lock is held.

    :raises DevopsError: libvirt does not answer
    """
    keep_promises(environment)
    tried: list[Finding] = []
    failed: dict[Finding, str] = {}
    nodes = look(environment)
    for stage in STAGES:
        found = [finding for finding in stage(nodes) if finding.repair is not None]
        for finding in found:
            reason = _attempt(finding)
            if reason is not None:
                failed[finding] = reason
        if found:
            tried += found
            nodes = look(environment)
    if all(seen.domain is not None for seen in nodes):
        settle(environment)
    remaining = compare(environment)
    repaired = [finding for finding in tried if finding not in remaining and finding not in failed]
    return Outcome(tuple(repaired), tuple(remaining), failed)


def _attempt(finding: Finding) -> str | None:
    """Repair it; returns why that does not work."""
    assert finding.repair is not None, "it can be repaired"
    try:
        finding.repair()
    except (DevopsError, DatabaseError) as error:
        return str(error).partition("\n")[0]
    except libvirt.libvirtError as error:
        return one_line(error)
    return None
