"""Sending the files of a selection into a repository."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from ..manifest.document import File, FileRole
from ..progress import Progress
from ..store import ExportSession, LayerKind, LayerSource, Repository

_KINDS = {
    FileRole.BASE: LayerKind.BASE,
    FileRole.OVERLAY: LayerKind.OVERLAY,
    FileRole.MEMORY: LayerKind.MEMORY,
}


_RELATED = 3  # exports whose data is looked at beforehand


class Readable(Protocol):
    """A file that is there."""

    def opened(self) -> AbstractContextManager[LayerSource]:
        """To be read in the block."""


class Files(Protocol):
    """The files of a selection by their paths, wherever they are."""

    def find(self, path: str) -> Readable:
        """:raises NotFoundError: it is not there"""


def related_exports(repository: Repository, environment: str) -> list[str]:
    """The ids of the latest exports of an environment, from which the next will differ little."""
    entries = [e for e in repository.exports() if e.summary.get("environment") == environment]
    return [entry.id for entry in entries[: -_RELATED - 1 : -1]]


def ship(
    files: Sequence[File],
    stored: Files,
    session: ExportSession,
    progress: Progress,
    *,
    sealed: Collection[str],
) -> tuple[File, ...]:
    """Add every file to the repository; returns the files with the ids of their layers.

    :param sealed: paths of files that no guest writes to any more, before or after this
    """
    progress.begin("Exporting", sum(file.size for file in files))
    return tuple(_ship_one(file, stored, session, progress, file.path in sealed) for file in files)


def _ship_one(
    file: File, stored: Files, session: ExportSession, progress: Progress, sealed: bool
) -> File:
    with stored.find(file.path).opened() as source:
        layer = session.add_layer(
            source, kind=_KINDS[file.role], sealed=sealed, progress=progress.advance
        )
        return file.model_copy(update={"layer": str(layer), "size": source.size})
