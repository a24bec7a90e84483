"""Merging a layer that no name needs with the only one that stands on it.

Two ways lead there. *Commit* writes the upper layer into the lower one, whose file then stands for
both: whatever named the upper one names the lower one from then on. *Pull* copies what the upper
one lacks out of the lower one, which then goes. Which is taken depends on what is less to copy and
on which files may be written: never one that has a second name (a spooled export holds it).

Everything that is read through the upper layer reads the same before, during and after; the file
that becomes superfluous goes last. Whatever is interrupted is done again by the next command.
"""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path

from ..contract import Volume
from ..errors import ConflictError, DevopsError, HypervisorError
from ..hypervisor import RunState, is_postmigrate
from ..interrupts import Heed
from ..progress import Progress
from ..qcow2 import read_header
from . import block_jobs, pool, qemu_img
from .replace import announce
from .restore import forget_chains
from .survey import Survey
from .takeover import lower_takes_over, upper_takes_over


class Way(enum.Enum):
    """How two layers become one."""

    COMMIT_ACTIVE = "commit the layer that the running guest writes to"
    COMMIT_OPEN = "commit a layer that QEMU has open"
    PULL_ACTIVE = "pull into the layer that the running guest writes to"
    COMMIT = "commit with qemu-img"
    PULL = "rebase with qemu-img"

    @property
    def commits(self) -> bool:
        return self in (Way.COMMIT_ACTIVE, Way.COMMIT_OPEN, Way.COMMIT)

    @property
    def is_live(self) -> bool:
        return self in (Way.COMMIT_ACTIVE, Way.COMMIT_OPEN, Way.PULL_ACTIVE)


@dataclass(frozen=True)
class Merge:
    """:param lower: nothing needs it but ``upper``, which stands on it"""

    survey: Survey
    lower: Volume
    upper: Volume

    @property
    def above(self) -> tuple[Volume, ...]:
        """What stands on the upper one."""
        return self.survey.children.get(self.upper.id, ())

    @property
    def below(self) -> str | None:
        """What the lower one stands on. What a raw file says of that, a guest has written."""
        is_qcow2 = self.lower.format == "qcow2"
        return self.survey.images[self.lower.uuid].backing if is_qcow2 else None

    @property
    def is_ours(self) -> bool:
        """Whether both files may be written to without QEMU."""
        driver = self.survey.node.driver
        return all(pool.is_ours(driver, volume.uuid) for volume in (self.lower, self.upper))

    def written(self, way: Way) -> list[str]:
        """The files that are changed."""
        if way.commits:
            return [self.lower.uuid, *(volume.uuid for volume in self.above)]
        return [self.upper.uuid]

    def linked(self, way: Way) -> list[str]:
        """Those of them that have a second name."""
        images = self.survey.images
        return [path for path in self.written(way) if path in images and images[path].links > 1]

    def ways(self) -> list[Way]:
        """Those that would do no harm, the best first."""
        target = self.survey.target_of(self.upper.uuid)
        if target is None:
            candidates = [Way.COMMIT, Way.PULL]
        elif self.survey.live[target][0] == self.upper.uuid:
            candidates = [Way.COMMIT_ACTIVE, Way.PULL_ACTIVE]
        else:
            candidates = [Way.COMMIT_OPEN]
        return sorted(filter(self._is_harmless, candidates), key=self._price)

    def _is_harmless(self, way: Way) -> bool:
        survey = self.survey
        if not way.is_live and not self.is_ours:
            return False  # on another host, the same path may be another file here
        if way.commits:
            is_ours = all(volume.id in survey.volumes for volume in self.above)
            return is_ours and self.upper.uuid not in survey.foreign
        image = survey.images.get(self.lower.uuid)
        has_others = image is not None and image.has_internal_snapshots
        return self.lower.uuid not in survey.inside and not has_others

    def _price(self, way: Way) -> tuple[bool, bool, int, bool]:
        """A volume of the environment's template keeps its file; else it is the bytes to copy.

        A pull leaves out what the upper layer hides, so it is at most that.
        """
        moved = self.upper if way.commits else self.lower
        loses_root = not way.commits and not self.survey.is_layer(self.lower)
        return bool(self.linked(way)), loses_root, self.survey.allocated(moved), way.commits


def obstacle(merge: Merge) -> str | None:
    """Why a merge cannot be done as things are, as far as that can be told beforehand."""
    survey = merge.survey
    for volume in (merge.lower, merge.upper):
        if volume.uuid not in survey.images:
            return f"{volume.uuid} is not there"
    ways = merge.ways()
    if not ways and not pool.is_local(survey.node.driver):
        return "its files are on another host, so it can only be merged while the guest is on"
    if not ways and not merge.is_ours:
        return "its files are not ours to write: only while the guest is on, or by root"
    if not ways:
        return f"others stand on {merge.upper.uuid}, of whom the database does not know"
    if ways[0].is_live:
        if merge.linked(ways[0]):
            return f"{merge.linked(ways[0])[0]} has a second name (hard link) and the guest is on"
        if survey.state is RunState.PAUSED and is_postmigrate(survey.domain):
            return "the guest has not run since its memory was saved"
    return None


def carry_out(merge: Merge, progress: Progress, heed: Heed) -> None:
    """Merge; where one way cannot even begin, or is given up, the other is tried.

    :raises DevopsError: it cannot be done now; nothing was lost
    """
    hindrance = obstacle(merge)
    if hindrance is not None:
        raise ConflictError(hindrance)
    way = _move_data(merge, progress, heed)
    _secure(merge, way)
    if way.commits:
        lower_takes_over(merge.survey, merge.lower, merge.upper, heed)
    else:
        upper_takes_over(merge.survey, merge.lower, merge.upper)


def _move_data(merge: Merge, progress: Progress, heed: Heed) -> Way:
    """Returns the way in which it was done.

    :raises DevopsError: in no way; what is read through the layers is the same as before
    """
    forget_chains(merge.survey.domain)
    first: DevopsError | None = None
    for way in merge.ways():
        moved = merge.upper if way.commits else merge.lower
        progress.begin(f"Merging {moved.name}", merge.survey.allocated(moved))
        if not way.commits and not merge.survey.is_layer(merge.lower):
            announce(merge.upper, merge.lower)
        try:
            _move(merge, way, progress, heed)
        except DevopsError as error:
            first = first or error
            if not _is_as_before(merge):
                raise
        else:
            return way
    assert first is not None, "there is at least one way"
    raise first


def _is_as_before(merge: Merge) -> bool:
    """Whether QEMU has open what it had: else the way that failed has done its work after all."""
    target = merge.survey.target_of(merge.upper.uuid)
    if target is None:
        return True
    return block_jobs.live_chain(merge.survey.domain, target) == merge.survey.live[target]


def _move(merge: Merge, way: Way, progress: Progress, heed: Heed) -> None:
    survey, lower, upper = merge.survey, merge.lower, merge.upper
    if way.is_live and merge.linked(way):
        raise ConflictError(f"{merge.linked(way)[0]} has a second name (hard link)")
    for path in merge.linked(way):
        qemu_img.unshare(path, heed)
    below, target = merge.below, str(survey.target_of(upper.uuid))
    if way is Way.COMMIT:
        qemu_img.commit(upper.uuid, lower.uuid, lower.format, heed)
    elif way is Way.PULL:
        qemu_img.rebase(upper.uuid, below, _backing_format(lower), heed)
    elif way is Way.COMMIT_ACTIVE:
        block_jobs.commit_active(survey.domain, target, lower.uuid, progress, heed)
    elif way is Way.COMMIT_OPEN:
        block_jobs.commit_below(survey.domain, target, lower.uuid, upper.uuid, progress, heed)
    else:
        block_jobs.pull(survey.domain, target, below, progress, heed)


def _secure(merge: Merge, way: Way) -> None:
    """Bring onto the disk what the file that goes has held."""
    if way.is_live:
        block_jobs.flush(merge.survey.domain)
    kept = merge.lower if way.commits else merge.upper
    if pool.is_local(merge.survey.node.driver) and os.access(kept.uuid, os.R_OK):
        qemu_img.sync(kept.uuid)  # else it is QEMU's alone, and QEMU has written it out


def _backing_format(volume: Volume) -> str | None:
    """Of what a volume stands on."""
    if volume.format != "qcow2":
        return None
    if volume.backing_store is not None:
        return volume.backing_store.format
    try:
        return read_header(Path(volume.uuid)).backing_format
    except OSError as error:
        raise HypervisorError(f"{volume.uuid} cannot be read: {error.strerror}") from error
