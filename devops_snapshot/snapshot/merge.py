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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import libvirt
from django.db import transaction

from ..contract import Volume
from ..errors import ConflictError, DevopsError, HypervisorError
from ..hypervisor import RunState, asking, is_postmigrate
from ..progress import Progress
from ..qcow2 import read_header
from . import block_jobs, pool, qemu_img
from .domain_xml import disks_of, parse
from .metadata import current_snapshot, snapshots_of, with_files_renamed
from .records import rename_files
from .replace import announce, replace
from .restore import define, forget_chains, redefine
from .survey import Survey


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
        if not way.is_live and not pool.is_local(survey.node.driver):
            return False  # the same path may be another file here
        if way.commits:
            is_ours = all(volume.id in survey.volumes for volume in self.above)
            return is_ours and self.upper.uuid not in survey.foreign
        return self.lower.uuid not in survey.inside

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
    if not ways:
        return f"others stand on {merge.upper.uuid}, of whom the database does not know"
    if ways[0].is_live:
        if merge.linked(ways[0]):
            return f"{merge.linked(ways[0])[0]} has a second name (hard link) and the guest is on"
        if survey.state is RunState.PAUSED and is_postmigrate(survey.domain):
            return "the guest has not run since its memory was saved"
    return None


def carry_out(merge: Merge, progress: Progress, heed: Callable[[], None]) -> None:
    """Merge; where one way fails, the other is tried.

    :raises DevopsError: it cannot be done now; nothing was lost
    """
    hindrance = obstacle(merge)
    if hindrance is not None:
        raise ConflictError(hindrance)
    first: DevopsError | None = None
    for way in merge.ways():
        try:
            _do(merge, way, progress, heed)
        except DevopsError as error:
            first = first or error
        else:
            return
    assert first is not None, "there is at least one way"
    raise first


def _do(merge: Merge, way: Way, progress: Progress, heed: Callable[[], None]) -> None:
    moved = merge.upper if way.commits else merge.lower
    forget_chains(merge.survey.domain)
    progress.begin(f"Merging {moved.name}", merge.survey.allocated(moved))
    if not way.commits and not merge.survey.is_layer(merge.lower):
        announce(merge.upper, merge.lower)
    if way.is_live:
        if merge.linked(way):
            raise ConflictError(f"{merge.linked(way)[0]} has a second name (hard link)")
        _move_live(merge, way, progress, heed)
    else:
        for path in merge.linked(way):
            qemu_img.unshare(path, heed)
        _move(merge, way, heed)
    if way.commits:
        _lower_takes_over(merge, heed)
    else:
        _upper_takes_over(merge)


def _move_live(merge: Merge, way: Way, progress: Progress, heed: Callable[[], None]) -> None:
    domain, lower, upper = merge.survey.domain, merge.lower, merge.upper
    target = str(merge.survey.target_of(upper.uuid))
    if way is Way.COMMIT_ACTIVE:
        block_jobs.commit_active(domain, target, lower.uuid, progress, heed)
    elif way is Way.COMMIT_OPEN:
        block_jobs.commit_below(domain, target, lower.uuid, upper.uuid, progress, heed)
    else:
        below = merge.survey.images[lower.uuid].backing
        block_jobs.pull(domain, target, below, progress, heed)
    block_jobs.flush(domain)
    kept = lower if way.commits else upper
    if pool.is_local(merge.survey.node.driver) and os.access(kept.uuid, os.R_OK):
        qemu_img.sync(kept.uuid)  # else it is QEMU's alone, and QEMU has written it out


def _move(merge: Merge, way: Way, heed: Callable[[], None]) -> None:
    lower, upper = merge.lower, merge.upper
    if way is Way.COMMIT:
        qemu_img.commit(upper.uuid, lower.uuid, lower.format, heed)
    else:
        below = merge.survey.images[lower.uuid].backing
        qemu_img.rebase(upper.uuid, below, _backing_format(lower), heed)


def _backing_format(volume: Volume) -> str | None:
    """Of what a volume stands on."""
    if volume.backing_store is not None:
        return volume.backing_store.format
    try:
        return read_header(Path(volume.uuid)).backing_format
    except OSError as error:
        raise HypervisorError(f"{volume.uuid} cannot be read: {error.strerror}") from error


def _lower_takes_over(merge: Merge, heed: Callable[[], None]) -> None:
    """Let all that stands on the upper file, or names it, do so with the lower one."""
    survey, lower, upper = merge.survey, merge.lower, merge.upper
    open_now = {path for chain in survey.live.values() for path in chain}
    for volume in merge.above:
        if volume.uuid not in open_now:  # else QEMU has done so
            qemu_img.point_at(volume.uuid, lower.uuid, lower.format, heed)
    _repoint_definition(merge)
    with transaction.atomic():
        _repoint_rows(merge, lower)
        rename_files(survey.node, {upper.uuid: lower.uuid})
    _repoint_snapshots(merge)
    upper.remove()


def _upper_takes_over(merge: Merge) -> None:
    """Let the lower file go; a volume of the template keeps its row, and gets the upper file."""
    lower, upper = merge.lower, merge.upper
    if not merge.survey.is_layer(lower):
        replace(merge.survey.node, upper, lower)
        return
    upper.backing_store = lower.backing_store
    upper.save()
    lower.remove()


def _repoint_rows(merge: Merge, lower: Volume) -> None:
    for volume in merge.above:
        volume.backing_store = lower
        volume.save()
    for device in merge.survey.node.disk_devices:
        if device.volume is not None and device.volume.id == merge.upper.id:
            device.volume = lower
            device.save()


def _repoint_definition(merge: Merge) -> None:
    """The persistent definition; QEMU has seen to the running one."""
    domain, lower, upper = merge.survey.domain, merge.lower, merge.upper
    with asking(f"reading the definition of {domain.name()}"):
        flags = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE
        inactive = parse(domain.XMLDesc(flags))
    stale = [disk.target for disk in disks_of(inactive) if disk.path == upper.uuid]
    if stale:
        sources = dict.fromkeys(stale, (lower.uuid, lower.format))
        define(merge.survey.node.driver.conn, inactive, sources)


def _repoint_snapshots(merge: Merge) -> None:
    domain, renamed = merge.survey.domain, {merge.upper.uuid: merge.lower.uuid}
    now = current_snapshot(domain)
    for snapshot in snapshots_of(domain).values():
        document = with_files_renamed(snapshot.xml, renamed)
        if _names(snapshot.xml, renamed):
            redefine(domain, document, current=snapshot.name == now)


def _names(xml: str, paths: Sequence[str] | dict[str, str]) -> bool:
    return any(source.get("file") in paths for source in parse(xml).iterfind(".//source[@file]"))
