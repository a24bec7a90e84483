"""What networks are joined to on this host: its bridges and network devices."""

from __future__ import annotations

from collections.abc import Iterator

from ...devops.libvirt.host_links import HostLinks
from ...manifest.document import L2NetworkDevice
from ..findings import Finding, Verdict
from .scene import Scene

_SUBJECT = "host devices"
_ISOLATED = "--isolated brings the network without it"


def check_links(scene: Scene) -> Iterator[Finding]:
    """A manifest names devices of this host here: whoever imports is told which."""
    if scene.choices.isolated:
        return
    links = HostLinks(scene.target.connection_string)
    for l2 in scene.manifest.environment.networks:
        yield from _check_bridge(l2, links)
        yield from _check_parent(l2, links)


def _check_bridge(l2: L2NetworkDevice, links: HostLinks) -> Iterator[Finding]:
    network = l2.network
    if network is None or network.forward_mode != "bridge" or network.bridge is None:
        return
    if links.find(network.bridge) is None:
        what = f"network {network.name!r} is the bridge {network.bridge}, which is not there"
        remedy = f"Make it, as with 'ip link add {network.bridge} type bridge'; or {_ISOLATED}"
        yield Finding(_SUBJECT, Verdict.AVOIDABLE, what, remedy, ("--isolated",))
    else:
        what = f"network {network.name!r} is the bridge {network.bridge} of this host"
        told = f"Its guests are in the same network as whatever is plugged in there; {_ISOLATED}"
        yield Finding(_SUBJECT, Verdict.NOTE, what, told)


def _check_parent(l2: L2NetworkDevice, links: HostLinks) -> Iterator[Finding]:
    parent = l2.params.get("parent_iface") or {}
    device, tag = parent.get("phys_dev"), parent.get("tag")
    if not device:
        return
    name = f"VLAN {tag} of {device}" if tag else device
    if links.find(device) is None:
        what = f"network {l2.name!r} is not joined to {name}, which is not there"
        yield Finding(_SUBJECT, Verdict.NOTE, what, "Its guests reach each other all the same")
    else:
        what = f"network {l2.name!r} is joined to {name} of this host"
        told = f"Its guests reach whatever is behind that device; {_ISOLATED}"
        yield Finding(_SUBJECT, Verdict.NOTE, what, told)
