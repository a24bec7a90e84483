"""Filling a new volume through libvirt.

Its first bytes come last. Until then it begins with a *mark*, which tells whose it is if that is
killed, and lets nobody take it for an image: a header names other files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import libvirt
from lxml import etree

from .. import storage_pool
from ..connection import EXISTS_CODES, one_line
from ..contract import Pool
from ..errors import ConflictError, HypervisorError, StorageError
from ..hypervisor import asking
from ..store import LayerSource
from .download import read_volume
from .volume_state import VolumeState

_PIECE = 1 << 20  # bytes
_TAIL = 1 << 16  # bytes that are read back
_OPENING = 1 << 16  # bytes


@dataclass(frozen=True)
class Opening:
    """The first bytes of a file, as they are to be in the end."""

    data: bytes

    @classmethod
    def of(cls, content: LayerSource) -> Opening:
        return cls(content.pread(0, min(content.size, _OPENING)))

    @property
    def digest(self) -> str:
        """Tells them from others."""
        return hashlib.sha256(self.data).hexdigest()


class NewVolume:
    """A file of a storage pool that libvirt has made for us; see :meth:`create`."""

    def __init__(self, volume: Any, size: int) -> None:
        self._volume = volume
        self._size = size

    @classmethod
    def create(cls, pool: Pool, path: PurePath, size: int) -> NewVolume:
        """Make a file of so many zeros, all of it a hole.

        Owner and permissions are those that libvirt gives to files in that pool.

        :raises ConflictError: there is a file of that name, which is left alone
        """
        root = etree.Element("volume", type="file")
        etree.SubElement(root, "name").text = path.name
        etree.SubElement(root, "capacity", unit="bytes").text = str(size)
        etree.SubElement(root, "allocation", unit="bytes").text = "0"
        etree.SubElement(etree.SubElement(root, "target"), "format", type="raw")
        libvirt_pool = storage_pool.get_pool(
            pool.conn, pool.storage_pool_name, uri=pool.connection_string
        )
        try:
            volume = libvirt_pool.createXML(etree.tostring(root, encoding="unicode"))
        except libvirt.libvirtError as error:
            if _is_taken(error):
                raise ConflictError(f"a file {path} is there already") from error
            raise HypervisorError(f"{path} cannot be made: {one_line(error)}") from error
        return cls(volume, size)

    def fill(
        self, content: LayerSource, *, mark: bytes, opening: Opening, told: Callable[[int], None]
    ) -> None:
        """Write all of the content but for its opening, in whose place the mark is.

        :param told: called with the bytes of each piece before it is written; whatever it raises
            ends the writing
        :raises StorageError: there is no room
        :raises HypervisorError: libvirt says that it could not write
        """
        length = len(opening.data)
        end = self._write(_pieces(content, mark[:length].ljust(length, b"\0")), self._size, told)
        start = max(length, end - _TAIL)
        self._check(start, content.pread(start, max(0, end - start)))

    def begin_with(self, opening: Opening) -> None:
        """Let it be what it is to be.

        :raises StorageError: as :meth:`fill`; likewise HypervisorError
        """
        self._write([(0, opening.data)], len(opening.data), _tell_nobody)
        self._check(0, opening.data)

    def remove(self) -> None:
        """Delete it; one that is gone is no error."""
        try:
            self._volume.delete()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise HypervisorError(
                    f"{self._volume.path()} cannot be deleted: {one_line(error)}"
                ) from error

    def _write(
        self, pieces: Iterable[tuple[int, bytes]], size: int, told: Callable[[int], None]
    ) -> int:
        """Write the first bytes of the file; returns where the last piece ends.

        :param pieces: with their offsets, ascending; the rest stays a hole
        """
        end = 0
        with asking(f"writing {self._volume.path()} through libvirt"):
            stream = self._volume.connect().newStream()
            self._volume.upload(stream, 0, size, libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM)
            try:
                for offset, data in pieces:
                    told(len(data))
                    if offset > end:
                        stream.sendHole(offset - end)
                    _send(stream, data)
                    end = offset + len(data)
                if end < size:
                    stream.sendHole(size - end)
                stream.finish()
            except BaseException:
                with suppress(libvirt.libvirtError):  # it has ended already
                    stream.abort()
                raise
        return end

    def _check(self, offset: int, expected: bytes) -> None:
        """Under load, libvirt 9.0 may say that all was written where there was no room left.

        It writes in order and stops at the first error, so the end tells (7 of 300 uploads).
        """
        if VolumeState.of(self._volume).size == self._size and (
            not expected or read_volume(self._volume, offset, len(expected)) == expected
        ):
            return
        raise StorageError(
            f"not all of {self._volume.path()} was written",
            hint="Is there room left in the storage pool?",
        )


def is_ours(volume: Any, *, size: int, mark: bytes, digest: str | None) -> bool:
    """Whether a volume is one that was being made, or is made, with that mark.

    :param size: bytes that it was to have
    :param digest: of its opening, where it was about to be finished
    """
    state = VolumeState.of(volume)
    if state.size != size:
        return False
    start = read_volume(volume, 0, min(size, _OPENING))
    if not state.allocated and not any(start):  # nobody has written anything into it yet
        return True
    return start[: len(mark)] == mark[:size] or Opening(start).digest == digest


def _tell_nobody(_: int) -> None:
    pass


def _pieces(content: LayerSource, first: bytes) -> Iterator[tuple[int, bytes]]:
    """All data, with other first bytes."""
    yield 0, first
    done = len(first)
    for extent in content.extents():
        stop = extent.offset + extent.length
        for offset in range(max(done, extent.offset), stop, _PIECE):
            yield offset, content.pread(offset, min(_PIECE, stop - offset))
        done = max(done, stop)


def _send(stream: Any, data: bytes) -> None:
    while data:
        data = data[stream.send(data) :]


def _is_taken(error: libvirt.libvirtError) -> bool:
    """libvirt says so with another code where it had not seen the file before."""
    return error.get_error_code() in EXISTS_CODES or "already exists" in error.get_error_message()
