"""The header of a qcow2 image, read and changed without QEMU.

An image that came from elsewhere must be looked at before ``qemu-img`` or QEMU opens it: its header
can name any file of the host as backing file or as external data file, and both would be opened.
Format: ``docs/interop/qcow2.txt`` of QEMU; what is refused here, QEMU refuses as well. What QEMU
would take, but no image of an environment has, is told in :attr:`ImageHeader.faults`.
"""

from __future__ import annotations

import io
import posixpath
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .errors import FormatError

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_V3_FEATURES = struct.Struct(">QQQII")
_EXTENSION = struct.Struct(">II")
_END = 0
_BACKING_FORMAT = 0xE2792ACA
_DATA_FILE = 0x44415441
_FEATURE_NAMES = 0x6803F857
_ENCRYPTION = 0x0537BE77
_BITMAPS = 0x23852875
_DIRTY, _INCOMPATIBLE_DATA_FILE, _LONG_L2_ENTRIES = 1 << 0, 1 << 2, 1 << 4
_KNOWN_FEATURES = (1 << 5) - 1  # dirty, corrupt, data file, kind of compression, long L2 entries
_MAX_BACKING_NAME = 1023
_BACKING_AT = 8  # offset in the header
_BACKING = struct.Struct(">QI")

MAX_HEAD = 1 << 21
"""Bytes of the largest cluster; the header with all that belongs to it is in the first one."""

MAX_VIRTUAL_SIZE = 1 << 46
"""Bytes. QEMU keeps a bit for each 64 KiB while it merges layers: 128 MiB."""

_MOST_SNAPSHOTS = 1024  # inside an image; QEMU reads all that they say of themselves
_MOST_MEMORY_STATE = 1 << 40  # bytes of a guest, kept by snapshots behind the end of the disk
_LARGEST_L1, _LARGEST_REFCOUNT_TABLE = 32 << 20, 8 << 20  # bytes; QEMU's own limits
_LARGEST_REFCOUNT_BITS = 6
_LARGEST_COUNTS = 256 << 20  # bytes that QEMU takes to count references again


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
    :param faults: what no image of an environment has: features that QEMU may come to know, tables
        that take more memory than the disk is worth
    """

    format: str
    virtual_size: int
    backing_file: str | None = None
    backing_format: str | None = None
    data_file: bool = False
    encrypted: bool = False
    internal_snapshots: int = 0
    faults: tuple[str, ...] = ()

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
        return _read(image, size=path.stat().st_size, name=str(path))


def header_in(head: bytes, *, size: int, name: str) -> ImageHeader:
    """Read the header of an image of which only the beginning is here.

    :param head: all of the image, or :data:`MAX_HEAD` bytes
    :param size: bytes of the image
    :param name: for messages
    :raises FormatError: as :func:`read_header`
    """
    return _read(io.BytesIO(head), size=size, name=name)


def standing_on(head: bytes, *, backing: str, backing_format: str, name: str) -> bytes:
    """The first cluster of a qcow2 image that shall stand on another file; data stays as it is.

    :param head: all of the image, or :data:`MAX_HEAD` bytes
    :param backing: path of that file
    :param name: for messages
    :raises FormatError: the header is damaged, or the path does not fit into it
    """
    with _damage_told(name):
        layout = _layout(io.BytesIO(head))
    path = backing.encode()
    for dropped in ((), (_FEATURE_NAMES,)):  # those are for error messages only
        kept = {kind: data for kind, data in layout.extensions.items() if kind not in dropped}
        start = head[: layout.length] + _packed({**kept, _BACKING_FORMAT: backing_format.encode()})
        if len(start) + len(path) <= layout.cluster and len(path) <= _MAX_BACKING_NAME:
            changed = bytearray((start + path).ljust(layout.cluster, b"\0"))
            _BACKING.pack_into(changed, _BACKING_AT, len(start), len(path))
            return bytes(changed)
    raise FormatError(f"the header of {name} has no room for the backing file {backing}")


@dataclass(frozen=True)
class _Layout:
    """What is where in the first cluster.

    :param cluster: bytes
    :param length: of the header proper, in bytes
    :param incompatible: features
    :param refcount_bits: the binary logarithm of the bits of a cluster's reference count
    :param l1_table: first byte in the file, and bytes; likewise the next one
    :param snapshot_table: first byte
    :param extensions: type to content
    """

    cluster: int
    length: int
    incompatible: int
    refcount_bits: int
    virtual_size: int
    crypt: int
    l1_table: tuple[int, int]
    refcount_table: tuple[int, int]
    internal_snapshots: int
    snapshot_table: int
    backing_file: str | None
    extensions: Mapping[int, bytes]


def _read(image: BinaryIO, *, size: int, name: str) -> ImageHeader:
    is_qcow2 = image.read(len(MAGIC)) == MAGIC
    if not is_qcow2:
        return ImageHeader(format="raw", virtual_size=size)
    image.seek(0)
    with _damage_told(name):
        layout = _layout(image)
        backing_format = layout.extensions.get(_BACKING_FORMAT)
        return ImageHeader(
            format="qcow2",
            virtual_size=layout.virtual_size,
            backing_file=layout.backing_file,
            backing_format=backing_format.decode() if backing_format else None,
            data_file=bool(layout.incompatible & _INCOMPATIBLE_DATA_FILE)
            or _DATA_FILE in layout.extensions,
            encrypted=layout.crypt != 0 or _ENCRYPTION in layout.extensions,
            internal_snapshots=layout.internal_snapshots,
            faults=tuple(_faults(layout, size)),
        )


def _faults(layout: _Layout, size: int) -> Iterator[str]:
    """:param size: bytes of the file"""
    unknown = layout.incompatible & ~_KNOWN_FEATURES
    if unknown:
        yield f"features that are unknown ({unknown:#x})"
    if _BITMAPS in layout.extensions:
        yield "bitmaps of changed blocks, which 'qemu-img bitmap --remove' takes out"
    if layout.virtual_size > MAX_VIRTUAL_SIZE:
        yield f"a disk of {layout.virtual_size} bytes"
    if layout.internal_snapshots > _MOST_SNAPSHOTS:
        yield f"{layout.internal_snapshots} snapshots"
    end = -(-size // layout.cluster) * layout.cluster
    tables = (
        ("a first table", layout.l1_table, _most_of_l1(layout)),
        ("a refcount table", layout.refcount_table, _LARGEST_REFCOUNT_TABLE),
        ("a table of snapshots", (layout.snapshot_table, 0), 0),
    )
    for what, (start, length), most in tables:
        if length > most:
            yield f"{what} of {length} bytes"
        elif start + length > end:
            yield f"{what} outside of the file"
    counts = (end // layout.cluster << layout.refcount_bits) // 8
    if layout.incompatible & _DIRTY and counts > _LARGEST_COUNTS:
        yield f"{counts} bytes of reference counts to be repaired"


def _most_of_l1(layout: _Layout) -> int:
    """Bytes; a table that grows becomes half as long again."""
    entry = 16 if layout.incompatible & _LONG_L2_ENTRIES else 8
    covered = layout.cluster // entry * layout.cluster
    entries = -(-(layout.virtual_size + _MOST_MEMORY_STATE) // covered)
    return min(_LARGEST_L1, 2 * 8 * entries)


@contextmanager
def _damage_told(name: str) -> Iterator[None]:
    try:
        yield
    except (struct.error, ValueError) as error:
        raise FormatError(f"the qcow2 header of {name} is damaged: {error}") from error


def _layout(image: BinaryIO) -> _Layout:
    fields = _HEADER.unpack(image.read(_HEADER.size))
    magic, version, backing_offset, backing_size, cluster_bits, size, crypt = fields[:7]
    if magic != MAGIC or version not in (2, 3) or not 9 <= cluster_bits <= 21:
        raise ValueError(f"version {version}, cluster bits {cluster_bits}")
    cluster = 1 << cluster_bits
    incompatible, refcount_bits, length = 0, 4, _HEADER.size
    if version == 3:
        features = _V3_FEATURES.unpack(image.read(_V3_FEATURES.size))
        incompatible, refcount_bits, length = features[0], *features[3:]
        if refcount_bits > _LARGEST_REFCOUNT_BITS:
            raise ValueError(f"reference counts of 2^{refcount_bits} bits")
        if not _HEADER.size + _V3_FEATURES.size <= length <= cluster:
            raise ValueError(f"header of {length} bytes")
    if backing_offset > cluster:
        raise ValueError(f"backing file name at {backing_offset}")
    # Extensions end where the name of the backing file begins, if there is one.
    return _Layout(
        cluster=cluster,
        length=length,
        incompatible=incompatible,
        refcount_bits=refcount_bits,
        virtual_size=size,
        crypt=crypt,
        l1_table=(fields[8], 8 * fields[7]),
        refcount_table=(fields[9], cluster * fields[10]),
        internal_snapshots=fields[11],
        snapshot_table=fields[12],
        backing_file=_backing_name(image, backing_offset, backing_size, cluster),
        extensions=dict(_extensions(image, length, backing_offset or cluster)),
    )


def _extensions(image: BinaryIO, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
    while offset + _EXTENSION.size <= end:
        image.seek(offset)
        kind, length = _EXTENSION.unpack(image.read(_EXTENSION.size))
        if kind == _END:
            return
        offset += _EXTENSION.size
        content = image.read(min(length, end - offset))
        if len(content) < length:
            raise ValueError(f"header extension {kind:#x} is cut short")
        yield kind, content
        offset += _padded(length)


def _packed(extensions: Mapping[int, bytes]) -> bytes:
    parts = [
        _EXTENSION.pack(kind, len(content)) + content.ljust(_padded(len(content)), b"\0")
        for kind, content in extensions.items()
    ]
    return b"".join([*parts, _EXTENSION.pack(_END, 0)])


def _padded(length: int) -> int:
    return (length + 7) // 8 * 8


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
