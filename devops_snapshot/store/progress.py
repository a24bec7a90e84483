"""How exports and imports tell how far they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

#: Called with the bytes of a file, holes too, that were dealt with since the last call.
Progress: TypeAlias = Callable[[int], None]


def no_progress(_bytes: int) -> None:
    """Tell nobody."""


def scaled(progress: Progress, *, size: int, to: int) -> Progress:
    """Return what is to be told of ``size`` bytes, when ``progress`` expects ``to`` bytes."""
    done = told = 0

    def tell(count: int) -> None:
        nonlocal done, told
        done += count
        progress(done * to // size - told)
        told = done * to // size

    return tell
