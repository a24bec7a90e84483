"""The image files of a storage pool as they are: what stands on what, who else uses them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import libvirt
from lxml import etree

from .. import storage_pool
from ..contract import Pool
from ..errors import FormatError
from ..hypervisor import asking
from ..qcow2 import read_header
from . import pool

_BLOCK = 512  # bytes; the unit of st_blocks on Linux


@dataclass(frozen=True)
class Image:
    """One file.

    :param backing: the file that its header names, as an absolute path
    :param allocated: bytes on disk
    """

    path: str
    backing: str | None
    allocated: int

    @property
    def links(self) -> int:
        """Names that the file has; 1 where it cannot be seen from here."""
        try:
            return Path(self.path).stat().st_nlink
        except OSError:
            return 1

    @property
    def has_internal_snapshots(self) -> bool:
        """Whether snapshots lie inside; False where it cannot be read from here."""
        with suppress(OSError, FormatError):
            return read_header(Path(self.path)).internal_snapshots > 0
        return False


def images_of(driver: Pool) -> dict[str, Image]:
    """All images of a driver's pool by path.

    libvirt reads their headers, so no permission on the files is needed. Files that came without
    its doing are seen, too.
    """
    with asking(f"listing storage pool {driver.storage_pool_name}"):
        libvirt_pool = pool.pool_of(driver)
        storage_pool.refresh(libvirt_pool)
        documents = [volume.XMLDesc() for volume in _volumes(libvirt_pool)]
    images = [_image(document) for document in documents]
    return {image.path: image for image in images}


def _volumes(libvirt_pool: Any) -> list[Any]:
    return list(libvirt_pool.listAllVolumes())


def _image(document: str) -> Image:
    root = etree.fromstring(document)
    path = root.findtext("target/path") or ""
    return Image(
        path=path,
        backing=root.findtext("backingStore/path"),
        allocated=_allocated(path, int(root.findtext("allocation") or 0)),
    )


def _allocated(path: str, told: int) -> int:
    """As it is now: libvirt tells what it was at the last look."""
    try:
        return Path(path).stat().st_blocks * _BLOCK
    except OSError:
        return told


def chain_in(images: Mapping[str, Image], path: str) -> list[str]:
    """The file and all it stands on by their headers, top first, as far as the pool has them."""
    chain = [path]
    while (image := images.get(chain[-1])) and image.backing and image.backing not in chain:
        chain.append(image.backing)
    return chain


def used_by_other_domains(connection: Any, domain: Any) -> frozenset[str]:
    """Every file that a disk of any other domain stands on, by definitions and headers."""
    with asking("reading the definitions of other domains"):
        others = [other for other in connection.listAllDomains() if other.name() != domain.name()]
        documents = [xml for other in others for xml in _definitions(other)]
    sources = {
        source.get("file", "")
        for document in documents
        for source in etree.fromstring(document).iterfind("./devices/disk//source[@file]")
    }
    return frozenset(file for source in sources for file in _chain_by_headers(source))


def _definitions(domain: Any) -> list[str]:
    try:
        return [domain.XMLDesc(0), domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)]
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return []  # it has just gone
        raise


def _chain_by_headers(path: str) -> list[str]:
    """As far as they can be read from here."""
    chain = [path]
    with suppress(OSError, FormatError):
        while backing := read_header(Path(chain[-1])).backing_file:
            below = str(PurePath(chain[-1]).parent / backing)
            if below in chain:
                break
            chain.append(below)
    return chain
