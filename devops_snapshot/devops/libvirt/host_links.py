"""Network devices of libvirt's host, looked at and changed with ``ip link``."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from devops_snapshot.errors import ConflictError, HypervisorError, NotFoundError

from .host_command import run_on_host

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,14}")
"""What the name of a device looks like, no longer than the kernel takes."""

VLANS = range(1, 4095)
"""The tags that IEEE 802.1Q leaves to its users."""


@dataclass(frozen=True)
class Link:
    """A network device.

    :param bridge: of which it is a port
    :param alias: the text that somebody has given it
    """

    name: str
    bridge: str | None
    alias: str


@dataclass(frozen=True)
class HostLinks:
    """The devices of the host of libvirt's ``uri``; all methods raise HypervisorError."""

    uri: str

    def find(self, name: str) -> Link | None:
        """The device of that name, or None."""
        for link in self._show("link", "show"):
            if link["ifname"] == name:
                return Link(name, link.get("master"), link.get("ifalias", ""))
        return None

    def get(self, name: str) -> Link:
        """The device of that name; raises NotFoundError."""
        link = self.find(name)
        if link is None:
            raise NotFoundError(f"network device {name} is not there on the host")
        return link

    def add_vlan(self, device: str, tag: int, *, alias: str) -> str:
        """Take one VLAN off a device, under a device ``<device>.<tag>`` unless that is there.

        :param alias: for the new device
        :returns: its name; both are up
        :raises NotFoundError: the device is not there
        """
        name = f"{self.get(device).name}.{tag}"
        self._ip("link", "set", "dev", device, "up")
        if self.find(name) is None:
            self._ip("link", "add", "link", device, "name", name, "type", "vlan", "id", str(tag))
            self._ip("link", "set", "dev", name, "alias", alias)
        self._ip("link", "set", "dev", name, "up")
        return name

    def plug(self, name: str, bridge: str) -> None:
        """Make a device a port of a bridge, and bring it up; nothing happens if it is a port.

        :raises ConflictError: it is a port of another, or the host itself uses it
        """
        link = self.get(name)
        if link.bridge == bridge:
            return
        if link.bridge is not None:
            raise ConflictError(f"network device {name} is a port of {link.bridge} already")
        addresses = self._addresses(name)
        if addresses:
            raise ConflictError(
                f"network device {name} is the host's own: {', '.join(addresses)} would be cut off",
                hint="Plug it into a bridge of the host's own, and use forward mode 'bridge'",
            )
        self._ip("link", "set", "dev", name, "master", bridge, "up")

    def remove(self, name: str, *, alias: str) -> None:
        """Delete a device, if it is there and has that alias."""
        link = self.find(name)
        if link is not None and link.alias == alias:
            self._ip("link", "delete", "dev", name)

    def _addresses(self, name: str) -> list[str]:
        """The host's addresses on a device, without those that every IPv6 device has."""
        return [
            address["local"]
            for device in self._show("address", "show", "dev", name)
            for address in device["addr_info"]
            if address["scope"] != "link"
        ]

    def _show(self, *arguments: str) -> list[dict[str, Any]]:
        answer = run_on_host(self.uri, ["ip", "-json", *arguments], as_root=False)
        shown: list[dict[str, Any]] = json.loads(answer or "[]")
        return shown

    def _ip(self, *arguments: str) -> None:
        try:
            run_on_host(self.uri, ["ip", *arguments], as_root=True)
        except HypervisorError as error:
            error.hint = error.hint or _hint(error.message)
            raise


def _hint(message: str) -> str:
    if "Unknown device type" in message:
        return "The kernel of the host knows no VLANs: load its module 8021q"
    if "sudo" in message or "not permitted" in message:
        return "Run it as root, or let sudo run 'ip' without a password"
    return ""
