"""The files that hold a domain's memory, outside its disks: what removing it has to take along."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import libvirt
from django.conf import settings
from lxml import etree

from devops_snapshot.storage_pool import directory_of, find_by_path

LOG = logging.getLogger(__name__)


def named_by(domain: libvirt.virDomain) -> list[Path]:
    """The memory files that the metadata of the domain's snapshots name."""
    descriptions = (snapshot.getXMLDesc() for snapshot in domain.listAllSnapshots())
    memories = (etree.fromstring(text).find("memory[@file]") for text in descriptions)
    return [Path(memory.get("file", "")) for memory in memories if memory is not None]


def remove(files: Iterable[Path], *, pool: libvirt.virStoragePool) -> None:
    """Delete those files that lie in the pool or in ``SNAPSHOTS_EXTERNAL_DIR``, and no others.

    Metadata may name any file of the host; what lies elsewhere, or cannot be deleted, stays behind
    with a warning.
    """
    pool_directory = directory_of(pool)
    for file in files:
        if file.parent == pool_directory:
            _remove_from_pool(file, pool)
        elif file.parent == Path(settings.SNAPSHOTS_EXTERNAL_DIR):
            _remove_from_disk(file)
        else:
            LOG.warning("memory file %s stays behind: it is in no directory of ours", file)


def _remove_from_pool(file: Path, pool: libvirt.virStoragePool) -> None:
    volume = find_by_path(pool, str(file))
    if volume is not None:
        volume.delete()


def _remove_from_disk(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        LOG.warning("memory file %s stays behind: %s", file, error.strerror)
