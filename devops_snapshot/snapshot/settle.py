"""What every command that changes snapshots does first: let all who know of them agree."""

from __future__ import annotations

from ..contract import Environment
from ..hypervisor import domain_of
from .heal import heal
from .reconcile import reconcile
from .unfinished import roll_back


def settle(environment: Environment) -> None:
    """Undo and correct what killed commands, virsh and fuel-devops have left behind.

    To be called while the environment's lock is held.

    :raises DevopsError: libvirt or the database do not answer
    """
    roll_back(environment)
    heal(environment)
    for node in environment.get_nodes():
        reconcile(node, domain_of(node))
