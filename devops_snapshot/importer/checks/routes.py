"""The routes of the host."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

import netaddr

from ..target import Target

_SECONDS = 10


@dataclass(frozen=True)
class Route:
    """One line of the main routing table."""

    subnet: netaddr.IPNetwork
    device: str

    def __str__(self) -> str:
        return f"{self.subnet} by {self.device}"


def read_routes(target: Target) -> list[Route]:
    """The IPv4 routes but for the default one; none where libvirt is on another host."""
    if not target.is_local:
        return []
    try:
        told = subprocess.run(
            ["ip", "-json", "-4", "route", "show"],
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):  # libvirt itself looks once more
        return []
    return [
        Route(netaddr.IPNetwork(line["dst"]).cidr, str(line.get("dev", "?")))
        for line in json.loads(told.stdout or "[]")
        if line.get("dst") not in (None, "default") and line.get("type", "unicast") == "unicast"
    ]
