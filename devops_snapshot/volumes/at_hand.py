"""Looking through libvirt whether a volume's file is a wanted one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ConflictError
from ..store import Extent
from .download import read_volume
from .volume_state import VolumeState

_PART = 16 << 20  # bytes, as many as a segment of a layer: a thread compares one at a time
_KEPT = 6  # parts: 96 MiB


class VolumeAtHand:
    """A :class:`~..store.LayerSource` that several threads read, each at another place."""

    def __init__(self, volume: Any, state: VolumeState) -> None:
        self._volume = volume
        self._state = state
        self._lock = threading.Lock()
        self._parts: OrderedDict[int, bytes] = OrderedDict()

    @classmethod
    @contextmanager
    def open(cls, volume: Any) -> Iterator[VolumeAtHand]:
        """:raises ConflictError: the file was written to while it was read
        :raises HypervisorError: libvirt cannot read it
        """
        state = VolumeState.of(volume)
        yield cls(volume, state)
        now = VolumeState.of(volume)
        if (now.size, now.modified) != (state.size, state.modified):
            raise ConflictError(f"{volume.path()} was written to while it was compared")

    @property
    def size(self) -> int:
        return self._state.size

    def extents(self) -> Iterator[Extent]:
        yield Extent(0, self.size)

    def pread(self, offset: int, length: int) -> bytes:
        """What lies behind the end is zeros."""
        data = bytearray()
        while len(data) < length:
            number, start = divmod(offset + len(data), _PART)
            part = self._part(number)[start : start + length - len(data)]
            data += part or bytes(length - len(data))
        return bytes(data)

    def _part(self, number: int) -> bytes:
        with self._lock:
            part = self._parts.pop(number, None)
            if part is None:
                part = read_volume(self._volume, number * _PART, _PART)
            self._parts[number] = part
            if len(self._parts) > _KEPT:
                self._parts.popitem(last=False)
            return part
