"""Which hypervisor a node gets on its host: KVM where it works, else QEMU's emulation."""

from __future__ import annotations

import logging
import textwrap
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import libvirt
from lxml import etree

from devops_snapshot.connection import one_line
from devops_snapshot.errors import HypervisorError

from .connection import shared_connection
from .elements import E

LOG = logging.getLogger(__name__)

PROBE_MEMORY = 16  # MiB
REASON_LENGTH = 200  # characters; QEMU can be wordy


@dataclass(frozen=True)
class Hypervisor:
    """A libvirt domain type (``kvm``, ``qemu``) and the program that runs it."""

    type: str
    emulator: str

    @property
    def host_cpu_mode(self) -> str:
        """The ``<cpu mode>`` for the best CPU there is; ``host-passthrough`` needs KVM."""
        return "host-passthrough" if self.type == "kvm" else "maximum"


def choose(uri: str, *, requested: str, architecture: str) -> Hypervisor:
    """The hypervisor for a node whose template says ``requested``.

    Where KVM is asked for and unusable, QEMU's emulation stands in, with one warning.

    :raises HypervisorError: the host cannot run that architecture or hypervisor
    :raises libvirt.libvirtError: libvirt does not answer
    """
    emulators = domain_types(shared_connection(uri).getCapabilities(), architecture)
    found = fitting(emulators, requested, has_kvm=lambda: kvm_works(uri, architecture))
    if found is None:
        known = ", ".join(sorted(emulators)) or "none"
        raise HypervisorError(
            f"{uri} cannot run {architecture} guests with hypervisor '{requested}'; it has: {known}"
        )
    return found


def fitting(
    emulators: Mapping[str, str], requested: str, *, has_kvm: Callable[[], bool]
) -> Hypervisor | None:
    """The hypervisor for guests of a type; QEMU's emulation stands in for KVM that does not work.

    :param emulators: of :func:`domain_types`
    :param has_kvm: asked only where that matters
    :returns: None: the host has none
    """
    falls_back = requested == "kvm" and "qemu" in emulators and not has_kvm()
    type_ = "qemu" if falls_back else requested
    return Hypervisor(type_, emulators[type_]) if type_ in emulators else None


def domain_types(capabilities: str, architecture: str) -> dict[str, str]:
    """The domain types that a host offers for hvm guests, each with its emulator's path.

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


@cache
def kvm_works(uri: str, architecture: str) -> bool:
    """Whether the host runs guests in KVM: asked once a process, with a warning if it does not."""
    reason = kvm_failure(shared_connection(uri), architecture)
    if reason:
        LOG.warning("KVM is unusable on %s: nodes are emulated, slowly (%s)", uri, reason)
    return not reason


def kvm_failure(connection: libvirt.virConnect, architecture: str) -> str:
    """Why a guest with the host's CPU cannot be started in KVM; empty where it can.

    Only trying tells: in some virtual machines ``/dev/kvm`` opens and libvirt offers KVM, and then
    QEMU dies of it ("failed to set MSR 0x10a").
    """
    if "kvm" not in domain_types(connection.getCapabilities(), architecture):
        return "libvirt does not offer it"
    probe = E.domain(
        E.name(f"kvm-probe-{uuid.uuid4()}"),
        E.memory(str(PROBE_MEMORY), unit="MiB"),
        E.vcpu("1"),
        E.os(E.type("hvm", arch=architecture)),
        E.cpu(mode="host-passthrough"),
        type="kvm",
    )
    flags = libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_AUTODESTROY
    try:
        connection.createXML(etree.tostring(probe, encoding="unicode"), flags).destroy()
    except libvirt.libvirtError as error:
        return textwrap.shorten(one_line(error), REASON_LENGTH, placeholder=" ...")
    return ""
