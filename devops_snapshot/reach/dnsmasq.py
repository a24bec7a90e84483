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
    config = _config_file(place)
    wanted = configuration(place, isolated, resolver=resolver)
    if list(_processes(place)) and config.read_text() == wanted:
        return True
    stop(place)
    if not isolated:
        return False
    config.write_text(wanted)
    if not is_there("dnsmasq"):
        LOG.warning("dnsmasq is not there on this host: guests get neither DHCP nor DNS")
        return False
    try:
        namespace.run("dnsmasq", f"--conf-file={config}")
    except DevopsError as error:
        LOG.warning("guests get neither DHCP nor DNS: %s", error)
        return False
    return True


def configuration(
    place: Place, isolated: Sequence[Attachment], *, resolver: IPv4Address | None
) -> str:
    """dnsmasq's file. Leases have no end: nobody renews them while there is no env-shell."""
    lines = [
        "pid-file=",
        f"dhcp-leasefile={place.directory / 'leases'}",
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


def stop(place: Place) -> None:
    """End what runs with our file, and wait until it has."""
    deadline = time.monotonic() + _PATIENCE
    number = signal.SIGTERM
    while processes := list(_processes(place)):
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, number)
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        time.sleep(_PAUSE)


def _processes(place: Place) -> Iterator[int]:
    """Those that were started with the file of this place, whatever their number is."""
    wanted = f"--conf-file={_config_file(place)}".encode()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            arguments = path.read_bytes().split(b"\0")
            if wanted in arguments and b"dnsmasq" in arguments[0]:
                yield int(path.parent.name)


def _config_file(place: Place) -> Path:
    return place.directory / "dnsmasq.conf"
