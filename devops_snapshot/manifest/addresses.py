"""Addresses and subnets as every reader takes them: Python, netaddr, libvirt, the database."""

from __future__ import annotations

import ipaddress
from typing import Any

import netaddr


def is_address(text: Any) -> bool:
    """Whether it is an IP address, without a scope."""
    try:
        return isinstance(text, str) and int(ipaddress.ip_address(text)) == int(_read(text))
    except (ValueError, netaddr.AddrFormatError):
        return False


def is_subnet(text: Any) -> bool:
    """Whether it is an address with the length of its prefix, or a subnet."""
    try:
        interface = ipaddress.ip_interface(str(text))
        network = netaddr.IPNetwork(str(text))
    except (ValueError, netaddr.AddrFormatError):
        return False
    same = (network.prefixlen, int(network.ip)) == (interface.network.prefixlen, int(interface.ip))
    return isinstance(text, str) and same and "%" not in text


def _read(text: str) -> netaddr.IPAddress:
    """:raises ValueError: it has a scope, which only some readers know"""
    if "%" in text:
        raise ValueError(text)
    return netaddr.IPAddress(text)
