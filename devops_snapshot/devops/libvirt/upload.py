"""Sending a local file into a storage volume, through libvirt's connection."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import libvirt


def upload(volume: libvirt.virStorageVol, path: Path, *, size: int) -> None:
    """Write the first ``size`` bytes of the file at ``path`` over the start of the volume.

    :raises libvirt.libvirtError: libvirt could not write them all
    :raises OSError: the file cannot be read
    """
    with path.open("rb") as file:
        stream = volume.connect().newStream()
        volume.upload(stream, 0, size)
        stream.sendAll(_read, file)
        stream.finish()


def _read(_stream: libvirt.virStream, size: int, file: BinaryIO) -> bytes:
    return file.read(size)
