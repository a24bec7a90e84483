"""Network traffic that somebody has blocked."""

from __future__ import annotations

from collections.abc import Iterable

from ..contract import Environment, Node


def unblock(environment: Environment, nodes: Iterable[Node]) -> None:
    """Let all traffic of the networks, and of the nodes' cards, pass again.

    A revert does so, as fuel-devops has it: a test that blocks traffic leaves none blocked to the
    next one. An app whose rows know no ``unblock()`` has blocked nothing.

    :raises DevopsError: it can be repeated
    """
    cards = [card for node in nodes for card in node.interface_set.all()]
    for row in (*cards, *environment.get_env_l2_network_devices()):
        if hasattr(row, "unblock"):
            row.unblock()
