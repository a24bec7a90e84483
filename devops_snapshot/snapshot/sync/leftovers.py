"""What commands have left half done, or put off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, partial

from ...contract import Environment
from ...interrupts import held_back
from ..tidy import tidy, waiting
from ..unfinished import half_taken, roll_back
from .finding import Finding
from .seen import Seen


def half_taken_snapshots(nodes: Sequence[Seen]) -> Iterator[Finding]:
    """Begun by a command that was killed; or by one that is at it right now."""
    for environment in _environment_of(nodes):
        for row in half_taken(environment):
            yield Finding(
                environment.name,
                "",
                "snapshot-unfinished",
                f"snapshot {row.name!r} is only half taken: it is being taken, or that was killed",
                "--repair takes it back",
                partial(roll_back, environment),
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
                f"layer {item.layer} ({item.path}) waits to be merged: {item.reason}",
                "--repair tries again",
                tidied,
                differs=False,
            )


def _tidy(environment: Environment) -> None:
    with held_back() as interrupts:
        tidy(environment, heed=interrupts.heed)


def _environment_of(nodes: Sequence[Seen]) -> list[Environment]:
    return [seen.environment for seen in nodes[:1]]
