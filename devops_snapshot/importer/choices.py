"""What a user may want of an import besides "all of it, as it was"."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Ending(enum.Enum):
    """What the guests do when the import is through.

    ``RESUME``: what they did when they were frozen; ``PAUSED``: stay at that moment; ``START``:
    run, also those that were off; ``DEFINE_ONLY``: defined with all their snapshots, and off.
    """

    RESUME = "resume"
    PAUSED = "paused"
    START = "start"
    DEFINE_ONLY = "define-only"


@dataclass(frozen=True)
class Choices:
    """The options of ``import-env``.

    :param name: of the environment here; with another than the export's, names and UUIDs are new
    :param isolated: networks have no address on this host, so that copies can live side by side
    :param disks_only: leave memory behind; guests boot from their disks
    :param snapshot: bring this one alone, and only what it needs
    :param nodes: bring these alone; empty: all
    :param timesync: set the guests' clocks at the end
    """

    name: str | None = None
    isolated: bool = False
    disks_only: bool = False
    snapshot: str | None = None
    nodes: tuple[str, ...] = ()
    ending: Ending = Ending.RESUME
    timesync: bool = False
