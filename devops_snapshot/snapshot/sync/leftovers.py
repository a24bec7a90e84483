"""What commands have left half done, or put off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial
from shlex import quote

from ...contract import Environment
from ...interrupts import held_back
from ...models import Underway
from ..drop import finish_deletions
from ..tidy import tidy, waiting
from ..unfinished import roll_back, underway
from .finding import Finding, Repair
from .seen import Seen


def unfinished_snapshots(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Begun by a command that was killed; or by one that is at it right now."""
    for environment in _environment_of(nodes):
        revert = f"revert again: dos.py revert {quote(environment.name)}"
        told: list[tuple[Underway, str, str, Repair | None]] = [
            (Underway.TAKING, "taken", "--repair takes it back", partial(roll_back, environment)),
            (
                Underway.DELETING,
                "deleted",
                "--repair finishes it",
                partial(finish_deletions, environment),
            ),
            (Underway.REVERTING, "reverted to", revert, None),
        ]
        for deed, participle, remedy, repair in told:
            for row in underway(environment, deed):
                yield Finding(
                    environment.name,
                    "",
                    "snapshot-unfinished",
                    f"snapshot {row.name!r} is only half {participle}: "
                    "a command is at it, or was killed",
                    remedy if repair is not None else f"{remedy} {row.name}",
                    repair,
                )


def waiting_layers(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Layers that no name needs; no difference, but good to know."""
    if any(seen.domain is None for seen in nodes):
        return
    for environment in _environment_of(nodes):
        tidied = cache(partial(_tidy, environment))
        for item in waiting(environment):
            yield Finding(
                environment.name,
                item.node,
                "layer-waits",
                f"layer {item.layer} ({item.path}) waits to be removed or merged: {item.reason}",
                "--repair tries again",
                tidied,
                differs=False,
            )


def _tidy(environment: Environment) -> None:
    with held_back() as interrupts:
        tidy(environment, heed=interrupts.heed)


def _environment_of(nodes: Sequence[Seen]) -> list[Environment]:
    return [seen.environment for seen in nodes[:1]]
