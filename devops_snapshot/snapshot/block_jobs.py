"""Merging layers that a running QEMU has open.

A job that fails leaves the chain as it was, and libvirt tells nobody who does not listen to events;
so whether it has done its work is seen from the chain itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import libvirt
import libvirt_qemu

from ..errors import HypervisorError
from ..hypervisor import asking
from ..interrupts import Heed
from ..progress import Progress
from . import notes
from .domain_xml import open_chains, parse
from .freeze import frozen

_POLL = 0.05  # seconds
_NOTE = "job"
_FLAGS_ACTIVE = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE


def live_chain(domain: Any, target: str) -> tuple[str, ...]:
    """The files that QEMU has open for a disk, top first."""
    with asking(f"reading the definition of {domain.name()}"):
        root = parse(domain.XMLDesc(0))
    return open_chains(root).get(target, ())


def commit_active(
    domain: Any, target: str, base: str | None, progress: Progress, heed: Heed
) -> None:
    """Write the top layer into the one below and let the guest stand on that.

    :param base: the file below; None: whatever is
    :raises HypervisorError: refused or given up; the guest stands where it stood
    """
    flags = _FLAGS_ACTIVE if base else _FLAGS_ACTIVE | libvirt.VIR_DOMAIN_BLOCK_COMMIT_SHALLOW
    with _noted(domain, target), asking(f"committing the overlay of {target} of {domain.name()}"):
        domain.blockCommit(target, base, None, 0, flags)
        _wait(domain, target, progress, heed, until=lambda: _is_ready(domain, target))
        domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)


def commit_below(
    domain: Any, target: str, base: str, top: str, progress: Progress, heed: Heed
) -> None:
    """Write a layer, on which another stands, into the one below it.

    :raises HypervisorError: refused or given up; the chain is as it was
    """
    with _noted(domain, target), asking(f"committing {top} of {domain.name()}"):
        domain.blockCommit(target, base, top, 0, 0)
        _wait(domain, target, progress, heed, until=lambda: _has_ended(domain, target))
        if top in live_chain(domain, target):
            raise HypervisorError(f"QEMU gave up committing {top} of {domain.name()}")


def pull(domain: Any, target: str, base: str | None, progress: Progress, heed: Heed) -> None:
    """Copy into the top layer what lies between it and ``base``, and let it stand on that.

    Until :func:`flush`, what was copied may be in QEMU's memory alone (``cache=unsafe``).

    :param base: None: copy all, and stand on nothing
    :raises HypervisorError: refused or given up; the chain is as it was
    """
    with _noted(domain, target), asking(f"pulling into {target} of {domain.name()}"):
        if base is None:
            domain.blockPull(target, 0, 0)
        else:
            domain.blockRebase(target, base, 0, 0)
        _wait(domain, target, progress, heed, until=lambda: _has_ended(domain, target))
        if live_chain(domain, target)[1:2] != (() if base is None else (base,)):
            raise HypervisorError(f"QEMU gave up pulling into {target} of {domain.name()}")


def flush(domain: Any) -> None:
    """Let QEMU write out what it has cached, which it does whenever a guest is stopped.

    libvirt does not stop one that stands still already; QEMU does so again.

    :raises HypervisorError: it does not answer
    """
    with frozen([domain]), asking(f"flushing the disks of {domain.name()}"):
        libvirt_qemu.qemuMonitorCommand(domain, '{"execute":"stop"}', 0)


@contextmanager
def _noted(domain: Any, target: str) -> Iterator[None]:
    """Inside, a job is ours: if we are killed, the next command ends it."""
    notes.write(domain, _NOTE, target=target)
    try:
        yield
    finally:
        notes.remove(domain, _NOTE)


def end_for_others(domain: Any) -> None:
    """End the job of a command that was killed; the chain is then as before it, or as after it."""
    note = notes.read(domain, _NOTE)
    if note is None:
        return
    target = note["target"]
    with asking(f"ending a block job of {target} of {domain.name()}"):
        if domain.blockJobInfo(target, 0):
            domain.blockJobAbort(target, 0)
    notes.remove(domain, _NOTE)


def _wait(
    domain: Any, target: str, progress: Progress, heed: Heed, *, until: Callable[[], bool]
) -> None:
    told = 0
    try:
        while not until():
            done = int((domain.blockJobInfo(target, 0) or {}).get("cur", told))
            progress.advance(max(0, done - told))
            told = max(done, told)
            heed()
            time.sleep(_POLL)
    except BaseException:
        with suppress(libvirt.libvirtError):  # it has ended by itself
            domain.blockJobAbort(target, 0)
        raise


def _has_ended(domain: Any, target: str) -> bool:
    return not domain.blockJobInfo(target, 0)


def _is_ready(domain: Any, target: str) -> bool:
    """Whether the commit has caught up with the guest: ``cur == end`` alone does not say so.

    :raises HypervisorError: the job has ended by itself
    """
    disk = parse(domain.XMLDesc(0)).find(f"./devices/disk/target[@dev='{target}']/../mirror")
    if disk is None:
        raise HypervisorError(f"QEMU gave up committing the overlay of {target}")
    return disk.get("ready") == "yes"
