"""Bringing files into a storage pool by libvirt, where we may make none there ourselves.

Each is a new volume, of a name that is free, and is filled through libvirt. The journal knows of it
before, so that what is left of a killed import can be told from the files of others: see
:func:`remains`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..interrupts import held_back
from ..progress import Progress
from ..snapshot import pool
from ..store import FileSource
from ..volumes import NewVolume, Opening, is_ours
from .journal import Journal, Making
from .target import Target


def upload_all(
    made: Sequence[tuple[Path, Path]], target: Target, journal: Journal, progress: Progress
) -> None:
    """Bring all of them; the journal undoes it.

    :param made: (the file here, name in the pool)
    :raises ConflictError: a file of that name is there already
    :raises StorageError: there is no room
    """
    with held_back() as interrupts:
        journal.undo.later(pool.refresh, target)
        progress.begin("Writing", sum(draft.stat().st_blocks * pool.BLOCK for draft, _ in made))

        def told(count: int) -> None:
            interrupts.heed()
            progress.advance(count)

        for draft, path in made:
            interrupts.heed()
            with FileSource.open(draft) as content:
                opening = Opening.of(content)
                journal.about_to_make(str(path), content.size)
                volume = NewVolume.create(target, path, content.size)
                journal.undo.later(volume.remove)
                volume.fill(content, mark=journal.mark, opening=opening, told=told)
                journal.about_to_finish(str(path), opening.digest)
                volume.begin_with(opening)
        pool.refresh(target)


def remains(making: Making) -> Iterator[tuple[str, Any]]:
    """Paths and volumes in the pool that a killed import has made.

    One begins with the mark of that import, or with what was written there at last; or nobody has
    written anything into it yet. A file of another that had the name first is none of these.
    """
    for path, (size, digest) in making.uploads.items():
        volume = pool.volume_at(making.target, path)
        mark = making.mark.encode()
        if volume is not None and is_ours(volume, size=size, mark=mark, digest=digest):
            yield path, volume
