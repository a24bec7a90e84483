"""What an import will do, and all that is in its way, found before anything is touched."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from django.apps import apps

from ..errors import CannotError, ConflictError, FormatError
from ..manifest import Manifest
from ..snapshot.pool import MAX_FILE_NAME
from .checks import Room, Scene, check_everything
from .choices import Choices
from .distinct import distinct
from .findings import Finding, Verdict
from .reshape import notes, reshape, spelled_apart
from .target import Target


@dataclass(frozen=True)
class Plan:
    """What an import will do.

    :param manifest: as the choices have it
    :param paths: path of each exported file to its path in the pool here
    :param shared: exported paths of base images that are here already, and used as they are
    :param network_uuids: UUID that each network will have, by its name
    :param findings: what the checks say, in the order of the table
    """

    manifest: Manifest
    choices: Choices
    target: Target
    paths: dict[str, str]
    shared: frozenset[str] = frozenset()
    network_uuids: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @cached_property
    def formats(self) -> dict[str, str]:
        """The format of each exported file, by its path there."""
        return {file.path: file.format for file in self.manifest.files}

    @property
    def in_the_way(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.is_in_the_way)

    @property
    def options(self) -> tuple[str, ...]:
        """With which nothing would be in the way, as far as options help."""
        every = (option for finding in self.in_the_way for option in finding.options)
        return tuple(dict.fromkeys(every))

    def require_possible(self) -> None:
        """Refuse what cannot be.

        :raises CannotError: there is something that no option avoids
        :raises ConflictError: there is something that an option, or an ``erase``, avoids
        """
        if not self.in_the_way:
            return
        blocking = [one for one in self.in_the_way if one.verdict is Verdict.BLOCKING]
        name = self.manifest.environment.name
        if blocking:
            told = f"environment {name!r} cannot come to this host: {_one_each(blocking)}"
            raise CannotError(told, hint=_remedies(blocking))
        raise ConflictError(
            f"environment {name!r} cannot come to this host as it is: {_one_each(self.in_the_way)}",
            hint=f"{self.in_the_way[0].remedy}. With '{' '.join(self.options)}' it can come; "
            "--dry-run tells everything",
        )


def _one_each(findings: Iterable[Finding]) -> str:
    """One of each subject; --dry-run shows all."""
    first = {finding.subject: finding.what for finding in reversed(tuple(findings))}
    return "; ".join(reversed(first.values()))


def _remedies(findings: Iterable[Finding]) -> str:
    return ". ".join(dict.fromkeys(finding.remedy for finding in findings))


def make_plan(
    exported: Manifest,
    target: Target,
    choices: Choices,
    *,
    in_place: frozenset[str],
    room: Room,
) -> Plan:
    """Settle what comes and where the files go, and check everything.

    :param exported: checked by :func:`~..manifest.check.check_manifest`
    :param in_place: exported files that are here already and will be used as they are
    :param room: that the files will take
    :raises NotFoundError: the export has no such node or snapshot
    """
    manifest = _beside_others(reshape(exported, choices), choices)
    scene = Scene(
        manifest=manifest,
        choices=choices,
        target=target,
        paths=place_files(manifest, target.directory),
        in_place=in_place,
        room=room,
    )
    findings = (*check_everything(scene), *notes(exported, manifest, choices))
    return Plan(
        manifest, choices, target, dict(scene.paths), scene.in_place, _uuids(scene), findings
    )


def _beside_others(manifest: Manifest, choices: Choices) -> Manifest:
    """Rows of an isolated copy may have the addresses of others, in other letters."""
    if not choices.isolated:
        return manifest
    macs = apps.get_model("devops", "Interface").objects.values_list("mac_address", flat=True)
    subnets = apps.get_model("devops", "AddressPool").objects.values_list("net", flat=True)
    return spelled_apart(manifest, macs=set(macs), subnets=set(map(str, subnets)))


def _uuids(scene: Scene) -> dict[str, str]:
    """Networks keep their UUIDs where these are free: definitions of guests may name them."""
    taken = {network.uuid for network in scene.networks_here}
    return {
        network.name: str(uuid.uuid4()) if network.uuid in taken else network.uuid
        for network in scene.networks
    }


def place_files(manifest: Manifest, directory: Path) -> dict[str, str]:
    """Every file keeps its name, in the pool's directory; a second of that name gets a number.

    :raises FormatError: no file can be called so
    """
    names = list(distinct(file.name for file in manifest.files))
    for name in names:
        if len(name.encode()) > MAX_FILE_NAME:
            raise FormatError(f"the manifest has several files {name!r}, too long for a number")
    return {
        file.path: str(directory / name) for file, name in zip(manifest.files, names, strict=True)
    }
