"""Addresses that rows tell in other letters than their original, and the original.

fuel-devops's tables take each address once, so an isolated copy tells its own in other letters (see
:mod:`~..importer.reshape.spelling`). Its manifests tell them as they were: the rows keep that in
their ``params``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from .plugs import plain_mac

_KEY = "spelled"
"""In ``params``: how the address was written before."""


def keeping(params: Mapping[str, Any], original: str) -> dict[str, Any]:
    """The ``params`` of a row that tells an address in other letters than these."""
    return {**params, _KEY: original}


def without_note(params: Mapping[str, Any]) -> dict[str, Any]:
    """The ``params`` as they were before."""
    return {key: value for key, value in params.items() if key != _KEY}


def original_mac(params: Mapping[str, Any], mac: str) -> str:
    """How a MAC address was written, if the row has not got another one meanwhile."""
    original = params.get(_KEY)
    is_it = isinstance(original, str) and plain_mac(original) == plain_mac(mac)
    return str(original) if is_it else mac


def original_subnet(params: Mapping[str, Any], subnet: str) -> str:
    """How a subnet was written, likewise."""
    original = params.get(_KEY)
    return str(original) if isinstance(original, str) and _same(original, subnet) else subnet


def _same(one: str, other: str) -> bool:
    try:
        return ipaddress.ip_interface(one) == ipaddress.ip_interface(other)
    except ValueError:
        return False
