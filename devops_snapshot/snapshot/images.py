"""The image files of a storage pool as they are: what stands on what, who else uses them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree

from .. import storage_pool
from ..contract import Pool
from ..errors import FormatError
from ..hypervisor import asking
from ..qcow2 import MAX_HEAD, ImageHeader, header_in, read_header
from ..volumes import StoredFiles
from . import pool


@dataclass(frozen=True)
class Image:
    """One file.

    :param backing: the file that its header names, as an absolute path
    :param allocated: bytes on disk
    :param links: names that the file has; 1 where it cannot be seen from here
    :param has_internal_snapshots: snapshots lie inside; False where it cannot be seen from here
    """

    path: str
    backing: str | None
    allocated: int
    links: int = 1
    has_internal_snapshots: bool = False


def images_of(driver: Pool) -> dict[str, Image]:
    """All images of a driver's pool by path, also those that came without libvirt's doing.

    Read from the files themselves; where they are another host's, or not ours to read, libvirt is
    asked, which then has to read its pool again.

    :raises HypervisorError: libvirt cannot do so now: something is being written into the pool
    """
    if pool.is_local(driver):
        with suppress(PermissionError):
            files = [path for path in pool.pool_directory(driver).iterdir() if path.is_file()]
            images = [_read(path) for path in files]
            return {image.path: image for image in images if image is not None}
    with asking(f"listing storage pool {driver.storage_pool_name}"):
        libvirt_pool = pool.pool_of(driver)
        storage_pool.refresh(libvirt_pool)
        told = [_told(document) for document in _documents(libvirt_pool)]
    return {image.path: image for image in told}


def _read(path: Path) -> Image | None:
    """None for a file that has just gone."""
    try:
        status = path.stat()
        header = read_header(path)
    except FileNotFoundError:
        return None
    except FormatError:  # it is being made, or damaged: nobody can stand on what it says
        header = ImageHeader(format="qcow2", virtual_size=0)
    return Image(
        path=str(path),
        backing=header.backing_path(path),
        allocated=status.st_blocks * pool.BLOCK,
        links=status.st_nlink,
        has_internal_snapshots=header.internal_snapshots > 0,
    )


def _documents(libvirt_pool: Any) -> Iterator[str]:
    for volume in libvirt_pool.listAllVolumes():
        try:
            yield volume.XMLDesc()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:  # it has just gone
                raise


def _told(document: str) -> Image:
    root = etree.fromstring(document)
    return Image(
        path=root.findtext("target/path") or "",
        backing=root.findtext("backingStore/path"),
        allocated=int(root.findtext("allocation") or 0),
    )


def header_at(driver: Pool, path: str) -> ImageHeader:
    """What an image says of itself, read by libvirt where it is not ours to read.

    :raises DevopsError: it is not there, or damaged
    :raises OSError: it cannot be read
    """
    file = StoredFiles([driver]).find(path)
    return header_in(file.beginning(MAX_HEAD), size=file.size, name=path)


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
        while below := read_header(Path(chain[-1])).backing_path(Path(chain[-1])):
            if below in chain:
                break
            chain.append(below)
    return chain
