"""How far guests that came back from memory are behind: for them no time has passed."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from ..contract import Environment
from ..hypervisor import RunState, run_state
from .metadata import current_snapshot, snapshots_of
from .nodes import nodes_with_domains


def clocks_behind(environment: Environment) -> Mapping[str, datetime.timedelta]:
    """By node, for those that a revert has just brought back from memory.

    It is the time since the snapshot by the clocks of the hosts, as the guests themselves may have
    been wrong before.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    behind = {}
    for node, domain in nodes_with_domains(environment):
        snapshot = snapshots_of(domain).get(current_snapshot(domain) or "")
        if snapshot is None or snapshot.state is RunState.SHUTOFF:
            continue
        if run_state(domain) is not RunState.SHUTOFF:
            behind[node.name] = now - snapshot.created
    return behind
