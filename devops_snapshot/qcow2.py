"""The header of a qcow2 image, read without QEMU.

An image that came from elsewhere must be looked at before ``qemu-img`` or QEMU opens it: its header
can name any file of the host as backing file or as external data file, and both would be opened.
Format: ``docs/interop/qcow2.txt`` of QEMU; what is refused here, QEMU refuses as well.
"""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import FormatError

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_V3_FEATURES = struct.Struct(">QQQII")
_EXTENSION = struct.Struct(">II")
_EXTENSION_END = 0
_EXTENSION_BACKING_FORMAT = 0xE2792ACA
_EXTENSION_DATA_FILE = 0x44415441
_INCOMPATIBLE_DATA_FILE = 1 << 2
_MAX_BACKING_NAME = 1023


@dataclass(frozen=True)
class ImageHeader:
    """What an image says of itself.

    :param format: ``qcow2`` or ``raw``
    :param virtual_size: bytes the guest sees
    :param backing_file: name of the backing file exactly as the header has it
    :param backing_format: format of the backing file, as far as the header says
    :param data_file: guest data lies in another file
    :param encrypted: the content is encrypted
    :param internal_snapshots: number of snapshots inside the image
    """

    format: str
    virtual_size: int
    backing_file: str | None = None
    backing_format: str | None = None
    data_file: bool = False
    encrypted: bool = False
    internal_snapshots: int = 0

    def backing_path(self, image: Path) -> str | None:
        """The backing file of an image at that place: a name is relative to its directory."""
        if self.backing_file is None:
            return None
        return posixpath.normpath(image.parent / self.backing_file)


def read_header(path: Path) -> ImageHeader:
    """Read an image's header; anything that is no qcow2 is raw.

    :raises FormatError: a qcow2 whose header is cut short or contradicts itself
    :raises OSError: the file cannot be read
    """
    with path.open("rb") as image:
        if image.read(len(MAGIC)) != MAGIC:
            return ImageHeader(format="raw", virtual_size=path.stat().st_size)
        image.seek(0)
        try:
            return _read_qcow2(image)
        except (struct.error, ValueError) as error:
            raise FormatError(f"the qcow2 header of {path} is damaged: {error}") from error


def _read_qcow2(image: BinaryIO) -> ImageHeader:
    fields = _HEADER.unpack(image.read(_HEADER.size))
    _, version, backing_offset, backing_size, cluster_bits, size, crypt = fields[:7]
    snapshots = fields[11]
    if version not in (2, 3) or not 9 <= cluster_bits <= 21:
        raise ValueError(f"version {version}, cluster bits {cluster_bits}")
    cluster = 1 << cluster_bits
    incompatible, header_length = 0, _HEADER.size
    if version == 3:
        features = _V3_FEATURES.unpack(image.read(_V3_FEATURES.size))
        incompatible, header_length = features[0], features[4]
        if not _HEADER.size + _V3_FEATURES.size <= header_length <= cluster:
            raise ValueError(f"header of {header_length} bytes")
    backing_file = _backing_name(image, backing_offset, backing_size, cluster)
    # Extensions end where the name of the backing file begins, if there is one.
    extensions = dict(_extensions(image, header_length, backing_offset or cluster))
    backing_format = extensions.get(_EXTENSION_BACKING_FORMAT)
    return ImageHeader(
        format="qcow2",
        virtual_size=size,
        backing_file=backing_file,
        backing_format=backing_format.decode() if backing_format else None,
        data_file=bool(incompatible & _INCOMPATIBLE_DATA_FILE)
        or _EXTENSION_DATA_FILE in extensions,
        encrypted=crypt != 0,
        internal_snapshots=snapshots,
    )


def _extensions(image: BinaryIO, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
    while offset + _EXTENSION.size <= end:
        image.seek(offset)
        kind, length = _EXTENSION.unpack(image.read(_EXTENSION.size))
        if kind == _EXTENSION_END:
            return
        offset += _EXTENSION.size
        content = image.read(min(length, end - offset))
        if len(content) < length:
            raise ValueError(f"header extension {kind:#x} is cut short")
        yield kind, content
        offset += (length + 7) // 8 * 8


def _backing_name(image: BinaryIO, offset: int, size: int, cluster: int) -> str | None:
    if not offset or not size:
        return None
    if size > min(_MAX_BACKING_NAME, cluster - offset):
        raise ValueError(f"backing file name of {size} bytes at {offset}")
    image.seek(offset)
    name = image.read(size)
    if len(name) < size or b"\0" in name:
        raise ValueError("backing file name is cut short")
    return name.decode()
