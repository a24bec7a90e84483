"""An export as it leaves its environment, and how a spool takes it in."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..manifest import Manifest
from .capture import Draft, Opening, opened_as_named
from .job import Job
from .spool import Spool


@dataclass(frozen=True)
class Parcel:
    """What is known of an export before its files are taken.

    :param id: the one that it will have on the storage node
    :param storage: URL of the storage node
    :param manifest: whose files have no layers yet
    :param sealed: paths of files that nothing will write to in place
    :param keep: for how long; None: as the storage node does it
    """

    id: str
    storage: str
    manifest: Manifest
    sealed: frozenset[str]
    keep: datetime.timedelta | None = None

    @property
    def paths(self) -> list[str]:
        """Of the files that are to be taken, in the manifest's order."""
        return [] if self.manifest.definitions_only else [file.path for file in self.manifest.files]

    def job(self, uid: int) -> Job:
        test = self.manifest.provenance.test
        return Job(
            id=self.id,
            directory=Path(),  # the spool knows
            environment=self.manifest.environment.name,
            storage=self.storage,
            queued=datetime.datetime.now(datetime.timezone.utc),
            snapshots=self.manifest.snapshots,
            size=self.manifest.size,
            keep_seconds=self.keep.total_seconds() if self.keep else None,
            test=test.name if test else "",
            outcome=test.outcome if test else "",
            uid=uid,
        )


def _nothing() -> None:
    pass


def take_in(
    spool: Spool,
    parcel: Parcel,
    *,
    uid: int,
    opening: Opening = opened_as_named,
    before_admission: Callable[[], None] = _nothing,
) -> Job:
    """Make a job of it.

    :param uid: the user whose it is
    :param before_admission: called when all files are taken; what it raises undoes that
    :raises CannotDetachError: a file cannot be taken
    :raises SpoolFullError: there is no room for it
    """

    def fill(draft: Draft) -> bytes:
        draft.take(parcel.paths, sealed=parcel.sealed, opening=opening)
        before_admission()
        return parcel.manifest.to_json()

    return spool.add(parcel.job(uid), fill)
