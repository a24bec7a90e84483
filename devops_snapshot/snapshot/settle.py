"""What every command that changes snapshots does first: let all who know of them agree."""

from __future__ import annotations

from ..contract import Environment
from ..hypervisor import domain_of
from .drop import finish_deletions
from .heal import heal
from .promise import keep_for_others
from .quiesce import thaw_for_others
from .reconcile import reconcile
from .unfinished import roll_back


def settle(environment: Environment) -> None:
    """Undo and correct what killed commands, virsh and fuel-devops have left behind.

    To be called while the environment's lock is held.

    :raises DevopsError: libvirt or the database do not answer
    """
    for node in environment.get_nodes():
        domain = domain_of(node)
        thaw_for_others(domain)
        keep_for_others(domain)
    roll_back(environment)
    finish_deletions(environment)
    heal(environment)
    for node in environment.get_nodes():
        reconcile(node, domain_of(node))
