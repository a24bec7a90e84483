"""Addresses and subnets as every reader takes them: Python, netaddr, libvirt, the database."""

from __future__ import annotations

import ipaddress
from typing import Any

import netaddr

_WIDEST = 8  # bits of a subnet's prefix


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


def is_for_hosts(text: str) -> bool:
    """Whether a network may have this address and prefix: a host would send there what it sends
    to the addresses of the subnet.

    :param text: for which :func:`is_subnet` holds
    """
    found = ipaddress.ip_interface(text)
    special = found.is_loopback or found.is_multicast or found.is_link_local
    return not (special or found.is_unspecified) and found.network.prefixlen >= _WIDEST


def _read(text: str) -> netaddr.IPAddress:
    """:raises ValueError: it has a scope, which only some readers know"""
    if "%" in text:
        raise ValueError(text)
    return netaddr.IPAddress(text)
