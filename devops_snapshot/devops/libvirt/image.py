"""What the header of an image file tells."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

QCOW2_MAGIC = b"QFI\xfb"


@dataclass(frozen=True)
class Image:
    """An image file: ``file_size`` on disk and ``virtual_size`` as a guest sees it, in bytes."""

    format: str
    file_size: int
    virtual_size: int


def read_image(path: Path) -> Image:
    """Tell qcow2 from raw; the virtual size of qcow2 is in its header (big-endian, at 24).

    :raises OSError: the file cannot be read
    """
    with path.open("rb") as file:
        header = file.read(32)
    size = path.stat().st_size
    if header.startswith(QCOW2_MAGIC) and len(header) == 32:
        (virtual_size,) = struct.unpack_from(">Q", header, 24)
        return Image("qcow2", size, virtual_size)
    return Image("raw", size, size)
