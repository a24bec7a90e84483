"""Which hypervisor a node gets on its host: KVM where it works, else QEMU's emulation."""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lxml import etree

from devops_snapshot.errors import HypervisorError

LOG = logging.getLogger(__name__)

KVM_DEVICE = Path("/dev/kvm")
LOCAL = ("qemu:///", "qemu+unix:///")


@dataclass(frozen=True)
class Hypervisor:
    """A libvirt domain type (``kvm``, ``qemu``) and the program that runs it."""

    type: str
    emulator: str

    @property
    def host_cpu_mode(self) -> str:
        """The ``<cpu mode>`` for the best CPU there is; ``host-passthrough`` needs KVM."""
        return "host-passthrough" if self.type == "kvm" else "maximum"


def choose(
    capabilities: str,
    *,
    uri: str,
    requested: str,
    architecture: str,
    kvm_device: Path = KVM_DEVICE,
) -> Hypervisor:
    """The hypervisor for a node whose template says ``requested``.

    Where KVM is asked for and unusable, QEMU's emulation stands in, and a warning is logged once
    for each host.

    :param capabilities: libvirt's XML about the host at ``uri``
    :param kvm_device: what to look at when that host is this machine
    :raises HypervisorError: the host cannot run that architecture or hypervisor
    """
    emulators = domain_types(capabilities, architecture)
    type_ = requested
    if type_ == "kvm" and "qemu" in emulators:
        reason = _why_kvm_is_unusable(emulators, uri=uri, device=kvm_device)
        if reason:
            _warn_once(uri, reason)
            type_ = "qemu"
    if type_ not in emulators:
        known = ", ".join(sorted(emulators)) or "none"
        raise HypervisorError(
            f"{uri} cannot run {architecture} guests with hypervisor '{type_}'; it has: {known}"
        )
    return Hypervisor(type_, emulators[type_])


def domain_types(capabilities: str, architecture: str) -> dict[str, str]:
    """The domain types that the host offers for hvm guests, each with its emulator's path.

    libvirt once wrote the emulator into ``<domain>``, today it is in ``<arch>``.
    """
    found: dict[str, str] = {}
    for guest in etree.fromstring(capabilities).iterfind("guest[os_type='hvm']"):
        for arch in guest.iterfind(f"arch[@name='{architecture}']"):
            for domain in arch.iterfind("domain"):
                emulator = domain.findtext("emulator") or arch.findtext("emulator")
                if emulator:
                    found[domain.get("type", "")] = emulator
    return found


def _why_kvm_is_unusable(emulators: dict[str, str], *, uri: str, device: Path) -> str:
    """Empty where KVM is usable; libvirt's word counts, since QEMU's user is not ours."""
    if "kvm" not in emulators:
        return "libvirt does not offer it"
    if not uri.startswith(LOCAL):
        return ""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM):
            return f"{device}: {error.strerror}"
    return ""


@cache
def _warn_once(uri: str, reason: str) -> None:
    LOG.warning("KVM is unusable on %s (%s): nodes run emulated, slowly", uri, reason)
