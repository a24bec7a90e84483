"""DHCP and DNS on isolated networks, as libvirt's dnsmasq gave them to the guests."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from ..errors import DevopsError
from .attachment import Attachment
from .host import is_there
from .namespace import Namespace
from .place import Place

LOG = logging.getLogger(__name__)

_PATIENCE = 3.0  # seconds for it to end when it is asked to
_PAUSE = 0.01


def serve(
    namespace: Namespace,
    place: Place,
    attachments: Sequence[Attachment],
    *,
    resolver: IPv4Address | None,
) -> bool:
    """Let dnsmasq run inside, as it should; returns whether it does.

    :param resolver: who knows names of the outside
    """
    isolated = [each for each in attachments if each.isolated and each.gateway is not None]
    noted = place.directory / "dnsmasq.conf"
    wanted = configuration(isolated, resolver=resolver)
    if list(_processes(namespace)) and noted.exists() and noted.read_text() == wanted:
        return True
    stop(namespace)
    if not isolated:
        return False
    if not is_there("dnsmasq"):
        LOG.warning("dnsmasq is not there on this host: guests get neither DHCP nor DNS")
        return False
    try:  # not from the file, for AppArmor may let it read only those that it knows
        namespace.run("dnsmasq", "--conf-file=-", given=wanted)
    except DevopsError as error:
        LOG.warning("guests get neither DHCP nor DNS: %s", error)
        return False
    noted.write_text(wanted)
    return True


def configuration(isolated: Sequence[Attachment], *, resolver: IPv4Address | None) -> str:
    """What dnsmasq reads. Leases have no end: nobody renews them while there is no env-shell."""
    lines = [
        "pid-file=",
        "leasefile-ro",
        "bind-interfaces",
        "no-hosts",
        "no-resolv",
        *([f"server={resolver}"] if resolver is not None else []),
        "dhcp-authoritative",
    ]
    for each in isolated:
        lines.append(f"interface={each.device}")
        if each.dhcp is None or each.subnet is None or each.subnet.version != 4:
            continue
        tag = f"net{each.number}"
        lines.append(
            f"dhcp-range=set:{tag},{each.dhcp.start},{each.dhcp.end},{each.subnet.netmask},infinite"
        )
        if not (each.nat or each.routed):
            lines.append(f"dhcp-option=tag:{tag},option:router")  # none
        for mac, address, name in each.dhcp.hosts:
            lines.append(f"dhcp-host={mac},{address}" + (f",{name}" if name else ""))
    return "\n".join(lines) + "\n"


def stop(namespace: Namespace) -> None:
    """End it, and wait until it has."""
    deadline = time.monotonic() + _PATIENCE
    number = signal.SIGTERM
    while processes := list(_processes(namespace)):
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, number)
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        time.sleep(_PAUSE)


def _processes(namespace: Namespace) -> Iterator[int]:
    """Those inside that are called so."""
    for process in namespace.processes():
        with suppress(OSError):
            if Path(f"/proc/{process}/comm").read_text() == "dnsmasq\n":
                yield process
