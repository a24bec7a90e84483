"""Reading the file of a volume through libvirt."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import libvirt

from ..errors import ConflictError, HypervisorError
from ..hypervisor import asking
from ..store import Extent
from .volume_state import VolumeState

_PIECE = 1 << 20  # bytes; libvirt gives less
_BEHIND = 4 << 20  # bytes that are kept, for whoever goes back a little
_AHEAD = 4 << 20  # bytes that are rather read over than skipped with a new request
_CHUNK = 1 << 16  # bytes before an extent that are asked for with it, at most
_PATIENCE = 5.0  # seconds
_AT_HOLE = -3  # what virStreamRecvFlags returns there


class VolumeSource:
    """A :class:`~..store.LayerSource` of a volume's file; see :meth:`open`.

    libvirt sends the file from where it was asked for up to its end, and waits while nobody reads:
    so whoever reads in ascending order waits for no answer but the first. Several threads may read.
    """

    def __init__(self, volume: Any, state: VolumeState) -> None:
        self._volume = volume
        self._state = state
        self._lock = threading.Lock()
        self._stream: _Stream | None = None
        self._buffer = bytearray()
        self._start = 0  # offset in the file of what is in the buffer
        self._is_closed = False

    @classmethod
    @contextmanager
    def open(cls, volume: Any) -> Iterator[VolumeSource]:
        """At the end, make sure that nobody changed it meanwhile.

        :raises ConflictError: the file was written to or replaced
        :raises HypervisorError: libvirt cannot read it
        """
        source = cls(volume, VolumeState.of(volume))
        try:
            yield source
            source._check_unchanged()
        finally:
            source._close()

    @property
    def size(self) -> int:
        return self._state.size

    def extents(self) -> Iterator[Extent]:
        """Yield where data may be, as it is found while the file is read."""
        if not self._state.is_sparse:
            yield Extent(0, self.size)
            return
        offset = 0
        while offset < self.size:
            with self._lock:
                hole = self._hole_at(offset)
            length = hole or min(_PIECE, self.size - offset)
            if not hole:
                yield Extent(offset, length)
            offset += length

    def pread(self, offset: int, length: int) -> bytes:
        with self._lock:
            self._go_to(offset)
            self._read_up_to(offset + length)
            at = offset - self._start
            with memoryview(self._buffer) as view:
                data = bytes(view[at : at + length])
            self._forget_before(offset)
            return data

    @property
    def _end(self) -> int:
        return self._start + len(self._buffer)

    def _hole_at(self, offset: int) -> int:
        """Bytes of the hole that begins there, or 0."""
        self._go_to(offset)
        self._read_up_to(offset)
        self._forget_before(offset)
        if offset < self._end:
            return 0
        hole = self._streaming().hole()
        if hole:
            before = min(hole, _CHUNK)
            self._buffer = bytearray(before)
            self._start = offset + hole - before
            self._streaming().skip_hole()
        return hole

    def _go_to(self, offset: int) -> None:
        """Let the stream be at an offset, or a little before."""
        if not self._start <= offset <= self._end + _AHEAD:
            self._stop()
            self._buffer.clear()
            self._start = offset

    def _read_up_to(self, stop: int) -> None:
        while self._end < stop:
            data = self._streaming().read(stop - self._end)
            if not data:
                raise self._changed()
            self._buffer += data

    def _forget_before(self, offset: int) -> None:
        superfluous = offset - self._start - _BEHIND
        if superfluous > _BEHIND:  # seldom, since it moves the rest
            del self._buffer[:superfluous]
            self._start += superfluous

    def _streaming(self) -> _Stream:
        if self._is_closed:
            raise HypervisorError(f"{self._volume.path()} is not being read any more")
        if self._stream is None:
            self._stream = _Stream(
                self._volume, self._end, self.size, is_sparse=self._state.is_sparse
            )
        return self._stream

    def _stop(self) -> None:
        if self._stream is not None:
            self._stream.abort()
            self._stream = None

    def _close(self) -> None:
        """After a failure a thread may still be reading ahead: it gets a moment."""
        self._is_closed = True
        is_mine = self._lock.acquire(timeout=_PATIENCE)
        try:
            self._stop()
        finally:
            if is_mine:
                self._lock.release()

    def _check_unchanged(self) -> None:
        try:
            now = VolumeState.of(self._volume)
        except HypervisorError as error:
            raise self._changed() from error
        if (now.size, now.modified) != (self.size, self._state.modified):
            raise self._changed()

    def _changed(self) -> ConflictError:
        return ConflictError(
            f"{self._volume.path()} changed while it was being read",
            hint="Only files that nothing writes to can be exported: take a snapshot first",
        )


def read_volume(volume: Any, offset: int, length: int) -> bytes:
    """A part of a volume's file, or fewer bytes where that ends.

    :raises HypervisorError: libvirt cannot read it
    """
    received = bytearray()
    with asking(f"reading {volume.path()} through libvirt"):
        stream = volume.connect().newStream()
        volume.download(stream, offset, length)
        stream.recvAll(lambda _stream, data, into: into.extend(data), received)
        stream.finish()
    return bytes(received)


class _Stream:
    """A volume's file from an offset up to its end, as it comes."""

    def __init__(self, volume: Any, offset: int, size: int, *, is_sparse: bool) -> None:
        self._path = volume.path()
        self._data = b""  # that came while somebody asked for a hole
        self._hole = 0  # bytes of the hole that comes next
        flags = libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM if is_sparse else 0
        with self._reading():
            self._stream = volume.connect().newStream()
            volume.download(self._stream, offset, size - offset, flags)

    def read(self, most: int) -> bytes:
        """Some of the next bytes, those of a hole too; none at the end."""
        if not self._data and not self._hole:
            self._receive()
        if self._hole:
            length = min(most, self._hole, _PIECE)
            self._hole -= length
            return bytes(length)
        data, self._data = self._data, b""
        return data

    def hole(self) -> int:
        """Bytes of the hole that comes next, or 0."""
        if not self._data and not self._hole:
            self._receive()
        return self._hole

    def skip_hole(self) -> None:
        self._hole = 0

    def abort(self) -> None:
        with suppress(libvirt.libvirtError):  # it has ended already
            self._stream.abort()

    def _receive(self) -> None:
        with self._reading():
            received = self._stream.recvFlags(_PIECE, libvirt.VIR_STREAM_RECV_STOP_AT_HOLE)
            if received == _AT_HOLE:
                self._hole = int(self._stream.recvHole())
            else:
                self._data = received

    def _reading(self) -> Any:
        return asking(f"reading {self._path} through libvirt")
