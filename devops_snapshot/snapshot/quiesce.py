"""Disks without memory: asking guest agents to write out and freeze the guests' file systems.

The agent's commands go through ``qemuAgentCommand``, whose time limit is for that one command.
libvirt's ``fsFreeze`` would wait for as long as the guest likes, or for what
``agentSetResponseTimeout`` sets for everybody: nobody can read that, to put it back afterwards.
Before each command libvirt asks the agent whether it is there, and waits five seconds for that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import libvirt
import libvirt_qemu

from ..errors import DevopsError, HypervisorError
from ..hypervisor import RunState, asking, run_state
from ..interrupts import held_back
from .domain_xml import parse
from .freeze import awake
from .parallel import for_all
from .promise import THAW, is_owed, kept, promise

LOG = logging.getLogger(__name__)

_CHANNEL = "./devices/channel/target[@name='org.qemu.guest_agent.0']"
_PING_SECONDS = 5
_FREEZE_SECONDS = 60  # the guest writes out all that it has cached
_THAW_SECONDS = 20
_THAW_TRIES = 3


@contextmanager
def quiesced(domains: Sequence[Any]) -> Iterator[frozenset[str]]:
    """Inside, file systems of running guests are frozen, where a guest agent answers.

    Afterwards exactly those are thawed, whatever happens. For that a guest must run: one that is
    paused by then runs for the moment it takes.

    :return: names of the domains whose file systems are frozen; a guest that has a channel for an
        agent and is not among them gets a warning in the log
    """
    frozen: list[Any] = []

    def freeze(domain: Any) -> None:
        if _froze(domain):
            frozen.append(domain)

    try:
        with held_back() as interrupts:
            for_all(_running_with_channel(domains), freeze, heed=interrupts.heed)
        yield frozenset(domain.name() for domain in frozen)
    finally:
        with held_back():
            for_all(frozen, _thaw)


def _running_with_channel(domains: Sequence[Any]) -> list[Any]:
    return [
        domain
        for domain in domains
        if run_state(domain) is RunState.RUNNING and _agent_state(domain) is not None
    ]


def _agent_state(domain: Any) -> str | None:
    """``connected`` while an agent runs in the guest, ``disconnected``; None: it has no channel."""
    with asking(f"reading the definition of {domain.name()}"):
        target = parse(domain.XMLDesc(0)).find(_CHANNEL)
    return None if target is None else str(target.get("state", "disconnected"))


def _froze(domain: Any) -> bool:
    """Freeze one guest's file systems, or say why not."""
    try:
        if _agent_state(domain) != "connected":
            raise HypervisorError(f"no guest agent runs in {domain.name()}")
        _ask(domain, "guest-ping", _PING_SECONDS)
    except DevopsError as error:
        _warn(error)
        return False
    promise(domain, THAW)
    try:
        _ask(domain, "guest-fsfreeze-freeze", _FREEZE_SECONDS)
    except DevopsError as error:
        _warn(error)
        if _may_come_yet(error):
            _thaw(domain)
        else:
            kept(domain, THAW)
        return False
    return True


def _warn(error: DevopsError) -> None:
    LOG.warning("%s; going on without freezing its file systems", error.message)


def _may_come_yet(error: DevopsError) -> bool:
    """Whether the agent may still do what it did not answer to in time.

    One that refuses has thawed what it had frozen; or somebody else froze it before.
    """
    cause = error.__cause__
    return (
        isinstance(cause, libvirt.libvirtError)
        and cause.get_error_code() == libvirt.VIR_ERR_AGENT_UNRESPONSIVE
    )


def thaw_for_others(domain: Any) -> None:
    """Thaw a guest that a command which was killed has frozen."""
    if is_owed(domain, THAW):
        _thaw(domain)


def _thaw(domain: Any) -> None:
    """Let a guest write again; one that is off has nothing to thaw."""
    for tries_left in reversed(range(_THAW_TRIES)):
        try:
            if run_state(domain) is not RunState.SHUTOFF:
                with awake(domain):
                    _ask(domain, "guest-fsfreeze-thaw", _THAW_SECONDS)
                kept(domain, THAW)
            return
        except DevopsError as error:
            if not tries_left:
                LOG.warning(
                    "%s: the guest may be unable to write; repeat 'virsh domfsthaw %s'",
                    error.message,
                    domain.name(),
                )


def _ask(domain: Any, command: str, seconds: int) -> None:
    """Let the guest agent do something.

    :raises HypervisorError: it is gone, refused, or did not answer within so many seconds
    """
    with asking(f"{command} in {domain.name()}"):
        libvirt_qemu.qemuAgentCommand(domain, f'{{"execute":"{command}"}}', seconds, 0)
