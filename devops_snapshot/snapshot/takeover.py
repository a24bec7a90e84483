"""After two layers were merged: who takes over, and the file that goes.

A *commit* has put all into the lower file, a *pull* into the upper one. Whatever stood on the other
one, or named it, stands on that from now on. The superfluous file goes last, and only if a fresh
look shows that nobody stands on it: a guest may have been started meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import libvirt
from django.db import transaction

from ..contract import Node, Volume
from ..errors import ConflictError
from ..hypervisor import asking
from ..interrupts import Heed
from ..write_guard import guarded
from . import pool, qemu_img
from .domain_xml import disks_of, open_chains, parse
from .images import images_of, used_by_other_domains
from .metadata import current_snapshot, snapshots_of, with_files_renamed
from .records import rename_files
from .replace import replace
from .restore import define, redefine
from .survey import Survey, survey_of

_COMMITTED = "committed_into"


def lower_takes_over(survey: Survey, lower: Volume, upper: Volume, heed: Heed) -> None:
    """Let all that stands on the upper file, or names it, do so with the lower one.

    :raises ConflictError: somebody uses the upper file; it stays
    :raises DevopsError: it can be repeated
    """
    above = survey.children.get(upper.id, ())
    if above:
        upper.params[_COMMITTED] = lower.id
        upper.save()
    with _kept_from_starting(survey, upper):
        open_now = {path for chain in survey.live.values() for path in chain}
        for volume in above:
            if volume.uuid not in open_now:  # else QEMU has done so
                qemu_img.point_at(volume.uuid, lower.uuid, lower.format, heed)
        _repoint_definition(survey, lower, upper)
        with transaction.atomic():
            _repoint_rows(survey, lower, upper)
            rename_files(survey.node, {upper.uuid: lower.uuid})
        _repoint_snapshots(survey.domain, {upper.uuid: lower.uuid})
        _check_unused(survey, upper.uuid)
        upper.remove()


def upper_takes_over(survey: Survey, lower: Volume, upper: Volume) -> None:
    """Let the lower file go; a volume of the template keeps its row, and gets the upper file.

    :raises ConflictError: somebody uses the lower file; it stays
    :raises DevopsError: it can be repeated
    """
    _check_unused(survey, lower.uuid)
    if not survey.is_layer(lower):
        replace(survey.node, upper, lower)
        return
    upper.backing_store = lower.backing_store
    upper.save()
    lower.remove()


def finish_commits(node: Node, domain: Any, heed: Heed) -> None:
    """Let lower layers take over where a killed command had begun to.

    :raises DevopsError: it can be repeated
    """
    if not any(_COMMITTED in volume.params for volume in node.get_volumes()):
        return
    survey = survey_of(node, domain)
    for upper in survey.volumes.values():
        lower = survey.volumes.get(upper.params.get(_COMMITTED, 0))
        if lower is not None and upper.uuid not in survey.active:
            lower_takes_over(survey, lower, upper, heed)
        elif upper.params.pop(_COMMITTED, None) is not None:
            upper.save()


def _kept_from_starting(survey: Survey, upper: Volume) -> AbstractContextManager[None]:
    """While a node is off: nobody can begin to write to the layer that is about to go."""
    if survey.live or not pool.is_local(survey.node.driver):
        return nullcontext()
    return guarded([upper.uuid])


def _check_unused(survey: Survey, path: str) -> None:
    """Look afresh.

    :raises ConflictError: a domain or an image stands on that file
    """
    domain = survey.domain
    with asking(f"reading the definition of {domain.name()}"):
        now = parse(domain.XMLDesc(0))
        then = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        chains = open_chains(now) if domain.isActive() else {}
    used = {file for chain in chains.values() for file in chain}
    used |= {disk.path for disk in disks_of(then) if disk.path}
    used |= {image.backing for image in images_of(survey.node.driver).values() if image.backing}
    if path in used | used_by_other_domains(survey.node.driver.conn, domain):
        raise ConflictError(f"{path} has come into use while it was merged, and stays")


def _repoint_rows(survey: Survey, lower: Volume, upper: Volume) -> None:
    for volume in survey.children.get(upper.id, ()):
        volume.backing_store = lower
        volume.save()
    for device in survey.node.disk_devices:
        if device.volume is not None and device.volume.id == upper.id:
            device.volume = lower
            device.save()


def _repoint_definition(survey: Survey, lower: Volume, upper: Volume) -> None:
    """The persistent definition; QEMU has seen to the running one."""
    domain = survey.domain
    with asking(f"reading the definition of {domain.name()}"):
        flags = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_INACTIVE
        inactive = parse(domain.XMLDesc(flags))
    stale = [disk.target for disk in disks_of(inactive) if disk.path == upper.uuid]
    if stale:
        sources = dict.fromkeys(stale, (lower.uuid, lower.format))
        define(survey.node.driver.conn, inactive, sources)


def _repoint_snapshots(domain: Any, renamed: Mapping[str, str]) -> None:
    now = current_snapshot(domain)
    for snapshot in snapshots_of(domain).values():
        if _names(snapshot.xml, renamed):
            document = with_files_renamed(snapshot.xml, renamed)
            redefine(domain, document, current=snapshot.name == now)


def _names(xml: str, paths: Mapping[str, str]) -> bool:
    return any(source.get("file") in paths for source in parse(xml).iterfind(".//source[@file]"))
