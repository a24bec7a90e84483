"""Names and UUIDs that are taken here."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from django.apps import apps

from ...hypervisor import asking
from ...manifest.nwfilters import nwfilters_of
from ..findings import Finding, Verdict
from .scene import Scene

_NEW_NAME = "--name NEW brings a copy with names and UUIDs of its own"


def check_names(scene: Scene) -> Iterator[Finding]:
    """Environment, domains and networks: names must be free, and UUIDs of domains."""
    yield from _check_environment(scene)
    yield from _check_domains(scene)
    yield from _check_networks(scene)
    yield from _check_nwfilters(scene)


def _check_environment(scene: Scene) -> Iterator[Finding]:
    name = scene.manifest.environment.name
    if apps.get_model("devops", "Environment").objects.filter(name=name).exists():
        yield _taken(
            "environment",
            f"an environment {name!r} is in the database already",
            f"Run 'dos.py erase {quote(name)}' first, or {_NEW_NAME}",
        )


def _check_domains(scene: Scene) -> Iterator[Finding]:
    names = {domain.name() for domain in scene.domains_here}
    uuids = {domain.UUIDString(): domain.name() for domain in scene.domains_here}
    for node, wanted in scene.definitions.items():
        if wanted.name in names:
            yield _taken("domains", f"a domain {wanted.name!r} is there already")
        elif wanted.uuid in uuids:
            yield _taken(
                "domains", f"UUID {wanted.uuid} of node {node!r} belongs to {uuids[wanted.uuid]!r}"
            )


def _check_networks(scene: Scene) -> Iterator[Finding]:
    names = {network.name for network in scene.networks_here}
    for network in scene.networks:
        if network.name in names:
            yield _taken("networks", f"a network {network.name!r} is there already")


def _check_nwfilters(scene: Scene) -> Iterator[Finding]:
    wanted = [nwfilter.name for nwfilter in nwfilters_of(scene.manifest)]
    if not wanted:
        return
    with asking("listing network filters"):
        names = set(scene.target.conn.listNWFilters())
    for name in wanted:
        if name in names:
            yield _taken("network filters", f"a network filter {name!r} is there already")


def _taken(subject: str, what: str, remedy: str = _NEW_NAME) -> Finding:
    return Finding(subject, Verdict.AVOIDABLE, what, remedy, ("--name NEW",))
