"""Pairs of devices that join the namespace to bridges of the host."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from ..errors import DevopsError
from ..interrupts import Heed
from . import host
from .namespace import Namespace
from .place import Place

LOG = logging.getLogger(__name__)

_PAUSE = 0.05  # seconds

SILENT = {"arp_ignore": "8", "rp_filter": "1"}
"""No replies; only what comes from where an answer would be sent, that is, from nowhere."""

_USUAL_WAIT = 6.0  # seconds; spanning tree takes twice the forward delay, with libvirt 2 seconds
_LONGEST_WAIT = 70.0  # which can be at most 30


def lay(
    namespace: Namespace, port: str, bridge: str, device: str, *, mac: str | None, alias: str
) -> None:
    """Join ``device`` inside to a bridge; what is there already stays.

    :param port: the host's end
    :param mac: of ``device``; by default the kernel's choice
    :param alias: what the host shows beside the port
    """
    if not (_exists(port) and _is_inside(namespace, device)):
        remove([port])
        address = ["address", mac] if mac else []
        inside = ["peer", "name", device, *address, "netns", namespace.name]
        host.run("ip", "link", "add", port, "type", "veth", *inside)
        host.run("ip", "link", "set", port, "addrgenmode", "none", "alias", alias[:255])
    host.run("ip", "link", "set", port, "master", bridge, "up")
    namespace.ip("link", "set", device, "up")


def silence(bridge: str) -> None:
    """Keep the host from hearing and answering what comes by a bridge that it has no address on.

    By default Linux answers every ARP request for an address of its own, whatever device it comes
    by: guests of an isolated network would take the host, which may well be the gateway of another
    copy, for theirs. And it takes what is sent to its addresses.
    """
    for setting, value in SILENT.items():
        host.run("tee", f"/proc/sys/net/ipv4/conf/{bridge}/{setting}", given=value)


def wait_for_bridges(ports: Sequence[str], heed: Heed) -> None:
    """Return when the bridges let all of them through.

    A bridge with spanning tree listens for a while first. What a command sends meanwhile is lost:
    ``ssh`` would find no route to its host.

    :raises DevopsError: a bridge does not
    """
    begin = time.monotonic()
    told = False
    while waiting := [port for port in ports if _state(port) != "forwarding"]:
        waited = time.monotonic() - begin
        if waited > _LONGEST_WAIT:
            raise DevopsError(f"a bridge lets nothing through port {waiting[0]}")
        if waited > _USUAL_WAIT and not told:
            LOG.info("Waiting until the bridges let env-shell through (spanning tree)")
            told = True
        time.sleep(_PAUSE)
        heed()


def ports_of(place: Place) -> list[str]:
    """The host's ends that are there."""
    names = [link["ifname"] for link in host.ip("link", "show", "type", "veth")]
    return [name for name in names if name.startswith(place.port(""))]


def remove(ports: Sequence[str]) -> None:
    """Take them away, with their other ends; what is not there, or just going, is none."""
    for port in filter(_exists, ports):
        try:
            host.run("ip", "link", "delete", port)
        except DevopsError:
            if _exists(port):
                raise


def _exists(port: str) -> bool:
    return any(link["ifname"] == port for link in host.ip("link", "show", "type", "veth"))


def _is_inside(namespace: Namespace, device: str) -> bool:
    return any(link["ifname"] == device for link in namespace.ip("link", "show"))


def _state(port: str) -> Any:
    [link] = host.ip("-details", "link", "show", "dev", port)
    return link["linkinfo"].get("info_slave_data", {}).get("state")
