"""What the user wants to be exported, and what is to be told of it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import DevopsError
from ..manifest.document import TestRun


@dataclass(frozen=True)
class Wanted:
    """Without ``names`` and ``all_snapshots`` a snapshot is taken now and exported.

    Every snapshot comes with its ancestors.

    :param names: snapshots to export
    :param with_current: take one now besides those
    :param definitions_only: leave disks and memory out
    :param description: free text, shown by ``list-exports``
    :param test: which it is exported for
    :param tags: to find it by, as :func:`~.report.told` makes them
    :param keep: for how long; otherwise the storage node's own setting counts
    :raises DevopsError: that contradicts itself
    """

    names: tuple[str, ...] = ()
    all_snapshots: bool = False
    with_current: bool = False
    definitions_only: bool = False
    description: str = ""
    test: TestRun | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    keep: datetime.timedelta | None = None

    def __post_init__(self) -> None:
        if self.definitions_only and (self.chooses or self.with_current):
            raise DevopsError("definitions only: that leaves no room for snapshots")

    @property
    def chooses(self) -> bool:
        """Whether there have to be snapshots already."""
        return bool(self.names) or self.all_snapshots

    @property
    def takes_one(self) -> bool:
        return not self.definitions_only and (self.with_current or not self.chooses)
