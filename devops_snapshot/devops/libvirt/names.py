"""What a row is called in libvirt.

The names are fuel-devops's (release 3.0.5), so that both find each other's objects.
"""

from __future__ import annotations

import hashlib

MAX_LENGTH = 80


def domain_name(environment: str, node: str) -> str:
    """The libvirt name of a node's domain."""
    return _joined(environment, node)


def network_name(environment: str, l2_network_device: str) -> str:
    """The libvirt name of a network."""
    return _joined(environment, l2_network_device)


def volume_name(environment: str, owner: str, volume: str) -> str:
    """The libvirt name of a volume; ``owner`` is the name of its node, or else of its group."""
    return _joined(environment, owner, volume)


def network_filter_name(environment: str, l2_network_device: str) -> str:
    """The libvirt name of the filter that all traffic of a network passes; never cut."""
    return "_".join((environment, l2_network_device))


def interface_filter_name(network_filter: str, mac: str) -> str:
    """The libvirt name of the filter of one network card; never cut."""
    return f"{network_filter}_{mac}"


def _joined(*parts: str) -> str:
    """The parts that are not empty, within :data:`MAX_LENGTH` characters.

    A longer name becomes the MD5 of the whole (32 hex digits) and as much of it as fits.
    """
    name = "_".join(filter(None, parts))
    if len(name) <= MAX_LENGTH:
        return name
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    return (digest + name)[:MAX_LENGTH]
