"""Bringing the files of an export into the storage pool."""

from __future__ import annotations

import subprocess
from itertools import chain
from pathlib import Path

from lxml import etree

from ..errors import DevopsError, FormatError
from ..hypervisor import asking
from ..interrupts import held_back
from ..manifest.document import File, FileRole
from ..progress import Progress
from ..qcow2 import read_header
from ..snapshot import pool
from ..snapshot.domain_xml import parse
from ..snapshot.undo import Undo
from ..store import FileSink, ImportSession, LayerId
from .plan import Plan
from .reshape import memory_header

_QEMU_IMG_SECONDS = 60


def fetch_files(plan: Plan, session: ImportSession, progress: Progress, undo: Undo) -> None:
    """Fetch every file, check what it is, and let the chains hang together here.

    :raises FormatError: an image is not what the manifest says, or points outside the pool
    """
    files = plan.manifest.files
    session.expect(LayerId(file.layer) for file in files if file.layer is not None)
    progress.begin("Importing", sum(file.size for file in files))
    for file in files:
        path = Path(plan.paths[file.path])
        if file.layer is None:
            _make_blank(plan, file, path, undo)
            continue
        with FileSink.create(path) as sink:
            undo.later(_remove, plan, path)
            session.restore(LayerId(file.layer), sink, progress=progress.advance)
        _check_image(file, path)
        _rebase(plan, file, path)
        _rename_memory(plan, file, path)
    pool.refresh(plan.target)


def _check_image(file: File, path: Path) -> None:
    """Look at the header before QEMU does: it could name any file of this host."""
    if file.role is FileRole.MEMORY or file.format == "raw":
        return  # whatever it looks like, it is used as that: see manifest.check
    header = read_header(path)
    if header.format != file.format:
        raise FormatError(f"{path.name} is {header.format}, the manifest says {file.format}")
    if header.data_file or header.encrypted:
        raise FormatError(f"{path.name} is encrypted or keeps its data in another file")
    if (header.backing_file is None) != (file.backing is None):
        raise FormatError(
            f"{path.name} stands on {header.backing_file!r}, the manifest says {file.backing!r}"
        )


def _rebase(plan: Plan, file: File, path: Path) -> None:
    """Write the backing file's path on this host into the header; data stays as it is."""
    if file.backing is None:
        return
    backing = plan.paths[file.backing]
    command = ["qemu-img", "rebase", "-u", "-f", file.format, "-b", backing]
    command += ["-F", _format_of(plan, file.backing), str(path)]
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=_QEMU_IMG_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        raise DevopsError(
            f"qemu-img could not rebase {path}: {' '.join(reason.split())}"
        ) from error


def _rename_memory(plan: Plan, file: File, path: Path) -> None:
    """libvirt brings a guest back under the name and UUID that its memory file tells."""
    if file.role is not FileRole.MEMORY or plan.choices.name is None:
        return
    snapshots = chain.from_iterable(node.snapshots for node in plan.manifest.environment.nodes)
    for snapshot in snapshots:
        definition = parse(snapshot.xml).find("domain")
        if snapshot.memory == file.path and definition is not None:
            memory_header.rewrite_like(path, definition, paths=plan.paths)


def _format_of(plan: Plan, exported_path: str) -> str:
    return next(file.format for file in plan.manifest.files if file.path == exported_path)


def _make_blank(plan: Plan, file: File, path: Path, undo: Undo) -> None:
    """An empty image in place of one whose content was not exported."""
    root = etree.Element("volume")
    etree.SubElement(root, "name").text = path.name
    etree.SubElement(root, "capacity").text = str(file.virtual_size or 0)
    target = etree.SubElement(root, "target")
    etree.SubElement(target, "format", type=file.format)
    if file.backing is not None:
        backing = etree.SubElement(root, "backingStore")
        etree.SubElement(backing, "path").text = plan.paths[file.backing]
        etree.SubElement(backing, "format", type=_format_of(plan, file.backing))
    with held_back(), asking(f"creating the empty volume {path.name}"):
        pool.pool_of(plan.target).createXML(etree.tostring(root, encoding="unicode"), 0)
        undo.later(_remove, plan, path)


def _remove(plan: Plan, path: Path) -> None:
    """The pool may not have seen the file yet."""
    path.unlink(missing_ok=True)
    pool.refresh(plan.target)
