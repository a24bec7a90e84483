"""What an import will do, and all that is in its way, found before anything is touched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import CannotError, ConflictError, DevopsError
from ..manifest import Manifest
from .checks import Scene, check_everything
from .choices import Choices
from .findings import Finding, Verdict
from .target import Target


@dataclass(frozen=True)
class Plan:
    """What an import will do.

    :param manifest: as the choices have it
    :param paths: path of each exported file to its path in the pool here
    :param findings: what the checks say, in the order of the table
    """

    manifest: Manifest
    choices: Choices
    target: Target
    paths: dict[str, str]
    findings: tuple[Finding, ...] = ()

    @property
    def in_the_way(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.is_in_the_way)

    def require_possible(self) -> None:
        """Refuse what cannot be.

        :raises CannotError: there is something that no option avoids
        :raises ConflictError: there is something that an option, or an ``erase``, avoids
        """
        if not self.in_the_way:
            return
        kind: type[DevopsError] = ConflictError
        if any(finding.verdict is Verdict.BLOCKING for finding in self.in_the_way):
            kind = CannotError
        what = "; ".join(finding.what for finding in self.in_the_way)
        name = self.manifest.environment.name
        raise kind(
            f"environment {name!r} cannot come to this host: {what}",
            hint=". ".join(dict.fromkeys(finding.remedy for finding in self.in_the_way)),
        )


def make_plan(manifest: Manifest, target: Target, choices: Choices, *, to_write: int) -> Plan:
    """Settle where the files go, and check everything.

    :param manifest: checked by :func:`~..manifest.check.check_manifest`, and as the choices have it
    :param to_write: bytes that the files will take in the storage pool
    """
    paths = place_files(manifest, target.directory)
    scene = Scene(
        manifest=manifest,
        choices=choices,
        target=target,
        paths=paths,
        in_place=frozenset(),
        to_write=to_write,
    )
    return Plan(manifest, choices, target, paths, check_everything(scene))


def place_files(manifest: Manifest, directory: Path) -> dict[str, str]:
    """Every file keeps its name, in the pool's directory; a second of that name gets a number."""
    placed: dict[str, str] = {}
    taken: set[str] = set()
    for file in manifest.files:
        name = _first_free((file.name, *(f"{file.name}-{n}" for n in range(len(taken) + 1))), taken)
        taken.add(name)
        placed[file.path] = str(directory / name)
    return placed


def _first_free(candidates: Iterable[str], taken: set[str]) -> str:
    return next(candidate for candidate in candidates if candidate not in taken)
