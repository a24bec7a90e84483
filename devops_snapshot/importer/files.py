"""Bringing the files of an export into the storage pool.

They come through the layer cache. Each is made beside the pool first, with the first bytes that it
needs here; when all are, they get their names in the pool, at once, and never that of another file.
Where we may make no files in the pool, libvirt does that for us: see :mod:`~.uploads`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ..errors import ConflictError, DevopsError, FormatError
from ..interrupts import held_back
from ..manifest import Manifest
from ..manifest.check import definition_of
from ..manifest.document import File, FileRole
from ..progress import Progress
from ..snapshot import pool
from ..snapshot.domain_xml import disks_of
from ..snapshot.metadata import parse_snapshot
from ..snapshot.undo import Undo
from ..store import ImportSession, LayerId
from ..volumes import StoredFiles
from ..write_guard import guarded
from .heads import check_image, format_of, head_of
from .journal import Journal
from .layer_cache import LayerCache
from .plan import Plan
from .target import Target
from .uploads import upload_all

_QEMU_IMG_SECONDS = 60


def fetch_files(plan: Plan, session: ImportSession, progress: Progress, journal: Journal) -> None:
    """Fetch every file, check what it is, and let the chains hang together here.

    :raises FormatError: an image is not what the manifest says, or points outside the pool
    :raises StorageError: the storage node cannot be reached, or there is no room here
    """
    files = [file for file in plan.manifest.files if file.path not in plan.shared]
    _check_sizes(files, session)
    cache = LayerCache.of(plan.target)
    cache.fetch(session, layers_of(plan.manifest, without=plan.shared), progress)
    are_ours = plan.target.files_are_ours
    written = _written_to(plan.manifest) if are_ours else frozenset()
    made: list[tuple[Path, Path]] = []
    for number, file in enumerate(files):
        draft = journal.bench / str(number)
        made.append((draft, Path(plan.paths[file.path])))
        if file.layer is None:
            _make_blank(plan, file, draft)
            continue
        layer = LayerId(file.layer)
        with cache.opened(session, layer) as content:
            head = head_of(plan, file, content)
        cache.take(session, layer, draft, head=head, is_written=file.path in written)
    if are_ours:
        _place(plan, made, journal.undo)
    else:
        upload_all(made, plan.target, journal, progress)


def layers_of(manifest: Manifest, *, without: frozenset[str] = frozenset()) -> list[LayerId]:
    """The layers that an environment is made of.

    :param without: exported paths of files that are not made
    """
    files = [file for file in manifest.files if file.path not in without]
    return [LayerId(file.layer) for file in files if file.layer is not None]


def shared_files(manifest: Manifest, session: ImportSession, target: Target) -> frozenset[str]:
    """Exported paths of base images that are in the pool already, under their name.

    Those that belong to no volume of the environment are meant to be shared (fuel-devops's
    ``shared_backing_store_name``), so they are used as they are, and stay when it is erased.
    """
    environment = manifest.environment
    volumes = [v for group in environment.groups for v in group.volumes]
    volumes += [v for node in environment.nodes for v in node.volumes]
    owned = {volume.params.get("uuid") for volume in volumes}
    return frozenset(
        file.path
        for file in manifest.files
        if file.role is FileRole.BASE and file.path not in owned
        if _is_there(file, session, target, target.directory / file.name)
    )


def _is_there(file: File, session: ImportSession, target: Target, path: Path) -> bool:
    if file.layer is None:
        return False
    try:
        found = StoredFiles([target]).find(str(path))
        with guarded([str(path)] if found.is_at_hand else []), found.compared() as content:
            is_same = session.layer(LayerId(file.layer)).is_in(content)
    except DevopsError:
        return False
    if is_same:
        with found.compared() as content:
            check_image(file, content)
    return is_same


def _check_sizes(files: list[File], session: ImportSession) -> None:
    for file in files:
        if file.layer is None:
            continue
        size = session.layer(LayerId(file.layer)).size
        if size != file.size:
            raise FormatError(
                f"{file.name} has {size} bytes in the repository, the manifest says {file.size}"
            )


def _written_to(manifest: Manifest) -> frozenset[str]:
    """Files that guests write to: their disks, but for those that a snapshot has frozen."""
    disks: set[str] = set()
    frozen = {file.backing for file in manifest.files if file.backing is not None}
    for node in manifest.environment.nodes:
        for disk in disks_of(definition_of(node).root):
            if disk.path and (disk.writable or disk.shared):
                disks.add(disk.path)
        for snapshot in map(parse_snapshot, (s.xml for s in node.snapshots if not s.internal)):
            frozen |= {disk.path for disk in snapshot.held if disk.path}
    return frozenset(disks - frozen)


def _make_blank(plan: Plan, file: File, path: Path) -> None:
    """An empty image in place of one whose content was not exported."""
    command = ["qemu-img", "create", "-q", "-f", file.format]
    if file.backing is not None:
        backing = [plan.paths[file.backing], "-F", format_of(plan, file.backing)]
        command += ["-u", "-b", *backing]  # -u: it is not there yet, and not opened
    command += [str(path), str(file.virtual_size or 0)]
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_QEMU_IMG_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        raise DevopsError(
            f"qemu-img could not create {file.name}: {' '.join(reason.split())}"
        ) from error
    path.chmod(0o600)


def _place(plan: Plan, made: list[tuple[Path, Path]], undo: Undo) -> None:
    """Give files their names in the pool.

    :param made: (name beside the pool, name in the pool)
    """
    with held_back() as interrupts:
        undo.later(pool.refresh, plan.target)
        for draft, path in made:
            interrupts.heed()
            try:
                os.link(draft, path)
            except FileExistsError as error:
                raise ConflictError(f"a file {path} is there already") from error
            except OSError as error:
                raise DevopsError(f"{path} cannot be made: {error.strerror}") from error
            undo.later(path.unlink, True)  # also if it is gone already
        pool.refresh(plan.target)
