"""The last step of an import: back to the moment that was exported."""

from __future__ import annotations

from typing import Any

from .. import snapshot as snapshots
from ..errors import DevopsError
from ..hypervisor import asking, domain_of
from ..snapshot.freeze import wake
from .choices import Ending


def awaken(environment: Any, current: str | None, ending: Ending) -> None:
    """Let the guests do what they are to do; may be repeated.

    :param current: the snapshot that was exported last; None: only definitions were
    """
    if current is not None:
        _revert(environment, current, ending)
    if ending is Ending.START:
        _start(environment)


def wake_all(environment: Any, ending: Ending) -> None:
    """Let the guests do what they are to do, when all stand where they are to stand."""
    if ending in (Ending.RESUME, Ending.START):
        for node in environment.get_nodes():
            wake(domain_of(node))
    if ending is Ending.START:
        _start(environment)


def _revert(environment: Any, name: str, ending: Ending) -> None:
    try:
        snapshots.revert(
            environment,
            name,
            resume=ending in (Ending.RESUME, Ending.START),
            with_memory=ending is not Ending.DEFINE_ONLY,
        )
    except DevopsError as error:
        error.hint = ""  # it tells of the environment's nodes; they are about to go
        raise


def _start(environment: Any) -> None:
    """Start the guests that did not come back from memory."""
    for node in environment.get_nodes():
        domain = domain_of(node)
        with asking(f"starting node {node.name!r}"):
            if not domain.isActive():
                domain.create()
