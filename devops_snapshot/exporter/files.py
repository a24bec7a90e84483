"""Finding every file behind a set of disks, by the headers of the images themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import UnsupportedError
from ..manifest.document import File, FileRole
from ..qcow2 import MAX_HEAD, ImageHeader, header_in
from ..volumes import StoredFile, StoredFiles

# More than any libvirt version accepts; a chain that is longer runs in a circle.
_MAX_CHAIN = 256


def discover(
    images: Mapping[str, str], memory: Iterable[str], stored: StoredFiles
) -> tuple[File, ...]:
    """All files, whatever is below before what stands on it, memory last.

    :param images: path of each topmost image to its format
    :param memory: paths of memory states
    :raises NotFoundError: a file is not there
    :raises UnsupportedError: an image that cannot be moved (encrypted, with an external data file)
    """
    found: dict[str, File] = {}
    for path, image_format in images.items():
        for file in reversed(_chain(path, image_format, stored)):
            found.setdefault(file.path, file)
    for path in sorted(memory):
        size = stored.find(path).size
        found[path] = File(path=path, role=FileRole.MEMORY, format="memory", size=size)
    return tuple(found.values())


def _chain(path: str, image_format: str, stored: StoredFiles) -> list[File]:
    """The image and all it stands on, top first."""
    chain: list[File] = []
    step: tuple[str, str | None] | None = (path, image_format)
    while step is not None:
        if len(chain) == _MAX_CHAIN:
            raise UnsupportedError(f"the backing chain of {path} has more than {_MAX_CHAIN} images")
        file = _image(*step, stored)
        chain.append(file)
        step = (file.backing, file.backing_format) if file.backing else None
    return chain


def _image(path: str, image_format: str | None, stored: StoredFiles) -> File:
    """:param image_format: as the domain or the layer above says; None: look at the image"""
    file = stored.find(path)
    if image_format == "raw":
        # A guest can write a qcow2 header into its raw disk: believe the domain, not the content.
        header = ImageHeader(format="raw", virtual_size=file.size)
    else:
        header = _header(path, file)
    if header.format != (image_format or header.format):
        raise UnsupportedError(f"the image {path} is used as {image_format}, but is none")
    if header.encrypted or header.data_file:
        kind = "encrypted" if header.encrypted else "spread over an external data file"
        raise UnsupportedError(f"the image {path} is {kind}, which cannot be exported")
    for fault in header.faults:
        raise UnsupportedError(f"the image {path} has {fault}, which no import would take")
    backing = _backing_path(Path(path), header)
    return File(
        path=path,
        role=FileRole.OVERLAY if backing else FileRole.BASE,
        format=header.format,
        size=file.size,
        virtual_size=header.virtual_size,
        backing=backing,
        backing_format=header.backing_format,
    )


def _backing_path(image: Path, header: ImageHeader) -> str | None:
    name = header.backing_file
    if name is None:
        return None
    if name.startswith("json:") or ":" in name.split("/")[0]:
        raise UnsupportedError(f"the backing file of {image} is {name!r}, not a plain path")
    return header.backing_path(image)


def _header(path: str, file: StoredFile) -> ImageHeader:
    return header_in(file.beginning(MAX_HEAD), size=file.size, name=path)
