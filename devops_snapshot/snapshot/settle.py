"""What every command that changes snapshots does first: let all who know of them agree."""

from __future__ import annotations

import logging
from typing import Any

from django.apps import apps

from ..contract import Environment, Node
from ..errors import DevopsError, NotFoundError, UnsupportedError
from ..hypervisor import domain_of
from ..interrupts import held_back
from ..lock import is_read
from . import block_jobs
from .drop import finish_deletions
from .heal import heal
from .nodes import nodes_with_domains
from .promise import keep_for_others
from .quiesce import thaw_for_others
from .reconcile import reconcile
from .takeover import finish_commits
from .unfinished import roll_back

LOG = logging.getLogger(__name__)


def settle(environment: Environment) -> list[str]:
    """Undo, finish and correct what killed commands, virsh and fuel-devops have left behind.

    Returns the names of snapshots whose deletion was finished. To be called while the environment's
    lock is held.

    :raises DevopsError: libvirt or the database do not answer
    """
    keep_promises(environment)
    roll_back(environment)
    finished = finish_deletions(environment)
    heal(environment)
    exported = is_read(environment.name)
    for node, domain in nodes_with_domains(environment):
        if not exported:
            _finish_commits(node, domain)
        reconcile(node, domain)
    return finished


def _finish_commits(node: Node, domain: Any) -> None:
    """What cannot be finished now is tidied up later."""
    try:
        with held_back() as interrupts:
            finish_commits(node, domain, interrupts.heed)
    except DevopsError as error:
        LOG.info("layers of node %s stay as they are: %s", node.name, error)


def keep_promises(environment: Environment) -> None:
    """Do for guests what killed commands owe them; nodes without a domain are passed over."""
    for node in environment.get_nodes():
        try:
            domain = domain_of(node)
        except (NotFoundError, UnsupportedError):
            continue
        block_jobs.end_for_others(domain)
        thaw_for_others(domain)
        keep_for_others(domain)


def keep_promises_of(environment_name: str) -> None:
    """Before a command that changes an environment in whatever way, and must not fail by this."""
    environment = apps.get_model("devops", "Environment").objects.filter(name=environment_name)
    try:
        for row in environment:
            keep_promises(row)
    except DevopsError as error:
        LOG.debug("Guests of %r cannot be asked: %s", environment_name, error)
