"""Removing and merging the layers that no name needs.

There is no list of what is to be done: what is left is seen by looking. So whatever could not be
done (a guest stands still after its memory was saved, AppArmor keeps QEMU from writing, a spooled
export holds a file, an export reads, a command was killed) is done by the next command that can.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import DatabaseError

from ..contract import Environment, Node, Volume
from ..errors import DevopsError
from ..interrupts import Heed, heed_nothing, held_back
from ..lock import is_read
from ..progress import Progress, Quiet
from ..signals import about_to_merge
from . import merge, pool
from .copies import idle_copies
from .merge import Merge
from .nodes import nodes_with_domains
from .reconcile import name_now, reconcile
from .records import remember
from .settle import settle
from .survey import Survey, survey_of
from .takeover import finish_commits

LOG = logging.getLogger(__name__)
_EXPORTED = "an export of the environment is reading its layers"
_NOT_YET = "not done yet; 'dos.py sync --repair' tries again"


@dataclass(frozen=True)
class Waiting:
    """A layer that no name needs and that is still there.

    :param node: name
    :param layer: name of its volume
    :param size: bytes on disk
    """

    node: str
    layer: str
    path: str
    size: int
    reason: str

    def __str__(self) -> str:
        return f"{self.node}: {self.layer}: {self.reason}"


def tidy(
    environment: Environment,
    *,
    progress: Progress | None = None,
    heed: Heed = heed_nothing,
) -> list[Waiting]:
    """Remove and merge all that can be; returns what has to wait.

    :param heed: called again and again; may raise to end it, whereupon nothing is lost
    :raises DevopsError: libvirt or the database do not answer
    """
    exported = is_read(environment.name)
    waits = []
    for node, domain in nodes_with_domains(environment):
        if not exported:
            finish_commits(node, domain, heed)
        reconcile(node, domain)
        waits += _tidy_node(node, domain, exported, progress or Quiet(), heed)
        name_now(domain)
    return waits + _tidy_copies(environment, heed)


def waiting(environment: Environment) -> list[Waiting]:
    """What no name needs now; nothing is changed."""
    exported = is_read(environment.name)
    found = []
    for node, domain in nodes_with_domains(environment):
        survey = survey_of(node, domain)
        for step in _steps(survey):
            reason = _EXPORTED if exported else _reason(step)
            found.append(_waiting(survey, step, reason))
    return found + [_copy_waits(copy, _NOT_YET) for copy in idle_copies(environment)]


def tidy_up(environment_name: str) -> None:
    """Do what has had to wait, if it can be done now; what fails is warned of and stays.

    For commands whose own work is done: this must not make them fail.
    """
    try:
        environment = apps.get_model("devops", "Environment").get(name=environment_name)
        if waiting(environment):
            with held_back() as interrupts:
                settle(environment)
                tidy(environment, heed=interrupts.heed)
                remember(environment)
    except (DevopsError, DatabaseError) as error:
        LOG.warning("Layers of %r are not tidied up: %s", environment_name, error)


@dataclass(frozen=True)
class _Removal:
    """Of a layer that nothing stands on."""

    lower: Volume


_Step = Merge | _Removal


def _tidy_node(
    node: Node, domain: Any, exported: bool, progress: Progress, heed: Heed
) -> list[Waiting]:
    put_off: dict[int, Waiting] = {}
    while True:
        survey = survey_of(node, domain)
        step = next((step for step in _steps(survey) if step.lower.id not in put_off), None)
        if step is None:
            return list(put_off.values())
        heed()
        if isinstance(step, Merge) and not exported and _other_names_given_up(step):
            continue
        reason = _EXPORTED if exported and isinstance(step, Merge) else _take(step, progress, heed)
        if reason is not None:
            put_off[step.lower.id] = _waiting(survey, step, reason)


def _tidy_copies(environment: Environment, heed: Heed) -> list[Waiting]:
    """Remove copies of shared disks; what is being written yet, after a kill, has to wait."""
    waits = []
    for copy in idle_copies(environment):
        heed()
        try:
            copy.remove()
        except DevopsError as error:
            LOG.info("copy %s stays: %s", copy.uuid, error)
            waits.append(_copy_waits(copy, str(error)))
    return waits


def _copy_waits(copy: Volume, reason: str) -> Waiting:
    return Waiting(
        node=copy.node.name if copy.node else "",
        layer=copy.name,
        path=copy.uuid,
        size=pool.allocated(copy.driver, copy.uuid),
        reason=reason,
    )


def _other_names_given_up(step: Merge) -> bool:
    """Whether a file that may be written to has fewer names now than it was seen to have."""
    images = step.survey.images
    volumes = (step.lower, step.upper, *step.above)
    paths = [v.uuid for v in volumes if v.uuid in images and images[v.uuid].links > 1]
    answers = about_to_merge.send(sender=Merge, paths=paths) if paths else []
    return any(given_up for _, given_up in answers)


def _take(step: _Step, progress: Progress, heed: Heed) -> str | None:
    """Take a step; returns why it cannot be taken now."""
    try:
        if isinstance(step, Merge):
            merge.carry_out(step, progress, heed)
        else:
            step.lower.remove()
    except DevopsError as error:
        LOG.info("layer %s stays: %s", step.lower.uuid, error)
        return str(error)
    return None


def _steps(survey: Survey) -> list[_Step]:
    """What there is to do, from the top down."""
    layers = sorted(
        survey.volumes.values(), key=lambda layer: len(survey.chain_of(layer)), reverse=True
    )
    return [step for layer in layers if (step := _step(survey, layer)) is not None]


def _step(survey: Survey, layer: Volume) -> _Step | None:
    if survey.is_kept(layer):
        return None
    above = survey.children.get(layer.id, ())
    if not above:
        removable = survey.is_layer(layer) and layer.uuid not in survey.inside
        return _Removal(layer) if removable else None
    if len(above) == 1 and survey.is_layer(above[0]) and _can_be_one(survey, layer, above[0]):
        return Merge(survey, layer, above[0])
    return None


def _can_be_one(survey: Survey, lower: Volume, upper: Volume) -> bool:
    """Internal snapshots go on reading through what was below their image when they were taken."""
    image = survey.images.get(upper.uuid)
    if upper.uuid in survey.inside or (image is not None and image.has_internal_snapshots):
        return False
    below = survey.images.get(lower.uuid)
    holds_others = lower.uuid in survey.inside or (below and below.has_internal_snapshots)
    return not holds_others or upper.uuid in survey.active


def _reason(step: _Step) -> str:
    if isinstance(step, Merge):
        told = merge.obstacle(step)
        if told is not None:
            return told
    return _NOT_YET


def _waiting(survey: Survey, step: _Step, reason: str) -> Waiting:
    layer = step.lower
    return Waiting(
        node=survey.node.name,
        layer=layer.name,
        path=layer.uuid,
        size=survey.allocated(layer),
        reason=reason,
    )
