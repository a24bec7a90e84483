"""MAC addresses, which people and programs write in many ways."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_NO_DIGIT = re.compile(r"[^0-9a-f]")


def plain_mac(mac: str) -> str:
    """What all spellings of an address have in common."""
    return _NO_DIGIT.sub("", mac.lower())


def new_macs(macs: Iterable[str], *, seed: str) -> dict[str, str]:
    """Another address for each, by :func:`plain_mac`.

    Like all of fuel-devops's they begin with 64; they follow from the old ones and the seed.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for mac in dict.fromkeys(map(plain_mac, macs)):
        number = 0
        while (fresh := _derived(f"{seed}/{mac}/{number}")) in taken:
            number += 1
        found[mac] = fresh
        taken.add(fresh)
    return found


def _derived(text: str) -> str:
    digits = hashlib.sha256(text.encode()).digest()[:5].hex(":")
    return f"64:{digits}"
