"""Sending the files of a selection into a repository."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..manifest.document import File, FileRole
from ..progress import Progress
from ..store import ExportSession, LayerKind
from ..volumes import StoredFiles

_KINDS = {
    FileRole.BASE: LayerKind.BASE,
    FileRole.OVERLAY: LayerKind.OVERLAY,
    FileRole.MEMORY: LayerKind.MEMORY,
}


def ship(
    files: Sequence[File],
    stored: StoredFiles,
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
    file: File, stored: StoredFiles, session: ExportSession, progress: Progress, sealed: bool
) -> File:
    with stored.find(file.path).opened() as source:
        layer = session.add_layer(
            source, kind=_KINDS[file.role], sealed=sealed, progress=progress.advance
        )
        return file.model_copy(update={"layer": str(layer), "size": source.size})
