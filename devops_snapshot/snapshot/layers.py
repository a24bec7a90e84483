"""The layers of a disk, as the database has them."""

from __future__ import annotations

from collections.abc import Iterator

from ..contract import Volume

COPY_OF = "copy_of"
"""In ``params`` of a copy: what the volume is called (``name``), and its ``capacity`` there."""


def chain_of(volume: Volume) -> Iterator[Volume]:
    """The volume and everything below it."""
    step: Volume | None = volume
    while step is not None:
        yield step
        step = step.backing_store


def deepest(volume: Volume) -> Volume:
    """The end of the volume's backing chain."""
    *_, end = chain_of(volume)
    return end
