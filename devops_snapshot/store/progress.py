"""How exports and imports tell how far they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

#: Called with the bytes of a file, holes too, that were dealt with since the last call.
Progress: TypeAlias = Callable[[int], None]


def no_progress(_bytes: int) -> None:
    """Tell nobody."""
