"""Frames that are needed again: they travel once, and lie on a disk of this host meanwhile.

They are kept as they came, compressed and with their checksums, so whoever takes one from here
checks it exactly as if it had just come from the storage node. Losing one costs time only.
"""

from __future__ import annotations

import logging
import os
import threading
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from ..format.frame import is_sound
from ..format.hashing import Data
from ..format.pack import PackIndex

log = logging.getLogger(__name__)

_NOWHERE = -1
_MOST_NEEDED = (1 << 16) - 1

_Read = Callable[[Sequence[int]], Mapping[int, Data]]  # frames of one pack, by their numbers


class _Pack:
    """The frames of one pack.

    :ivar needed: how many times each will still be asked for
    :ivar offsets: where each lies in the file, or ``_NOWHERE``
    """

    def __init__(self, frames: int) -> None:
        self.needed = array("H", bytes(2 * frames))
        self.offsets = array("q", [_NOWHERE]) * frames


class KeptFrames:
    """Frames in a file without a name; may be used by several threads.

    Of each frame ten bytes are in memory, whether it is kept or not.

    :param directory: where the file is made when it is needed first
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._packs: dict[str, _Pack] = {}
        self._under_way: dict[tuple[str, int], Future[Data]] = {}
        self._file: IO[bytes] | None = None
        self._end = 0  # bytes of the file
        self._limit = 0  # bytes that the file may have
        self._lock = threading.Lock()
        self.leave_room(0)

    def close(self) -> None:
        with self._lock:
            self._limit = 0
            if self._file:
                self._file.close()

    def leave_room(self, size: int) -> None:
        """Take at most half of what is free on the disk beside ``size`` bytes."""
        with self._lock:
            self._limit = self._end + max(0, self._free() - size) // 2

    def expect(self, index: PackIndex, frames: Iterable[int]) -> None:
        """Tell that each of some frames will be asked for once more."""
        with self._lock:
            needed = self._pack(index).needed
            for number in frames:
                needed[number] = min(needed[number] + 1, _MOST_NEEDED)

    def fetch(
        self, index: PackIndex, frames: Sequence[int], read: _Read, *, keep: bool = False
    ) -> dict[int, Data]:
        """Return some frames of a pack, in whatever order.

        :param read: called for those that are not here and that no other thread is reading
        :param keep: they will be asked for again, whether that was told or not
        """
        here, theirs, ours = self._claim(index, frames, keep=keep)
        found = {number: self._load(index, number, offset) for number, offset in here.items()}
        lost = [number for number, data in found.items() if data is None]
        taken = self._read_for_all(index, ours, read) if ours else {}
        lost += [number for number, future in theirs.items() if future.exception()]
        awaited = {n: future.result() for n, future in theirs.items() if not future.exception()}
        again = read(lost) if lost else {}
        return {**{n: data for n, data in found.items() if data}, **taken, **awaited, **again}

    def _claim(
        self, index: PackIndex, frames: Sequence[int], *, keep: bool
    ) -> tuple[dict[int, int], dict[int, Future[Data]], list[int]]:
        """Return the offsets of those that are here, who reads others, and what is left.

        Whoever claims reads what is left before waiting for others, so nobody waits for ever.
        """
        here: dict[int, int] = {}
        theirs: dict[int, Future[Data]] = {}
        ours: list[int] = []
        with self._lock:
            pack = self._pack(index)
            for number in frames:
                pack.needed[number] = max(pack.needed[number], 1) - 1
                if pack.offsets[number] != _NOWHERE:
                    here[number] = pack.offsets[number]
                elif (index.pack, number) in self._under_way:
                    theirs[number] = self._under_way[index.pack, number]
                else:
                    ours.append(number)
                    if keep or pack.needed[number]:
                        self._under_way[index.pack, number] = Future()
        return here, theirs, ours

    def _read_for_all(
        self, index: PackIndex, frames: Sequence[int], read: _Read
    ) -> dict[int, Data]:
        """Read frames, keep those that are needed again, and give them to whoever waits."""
        try:
            found = dict(read(frames))
        except BaseException as error:
            for number in frames:
                self._end_of_way(index, number).set_exception(error)
            raise
        for number in frames:
            if (index.pack, number) in self._under_way:
                self._save(index, number, found[number])
                self._end_of_way(index, number).set_result(found[number])
        return found

    def _end_of_way(self, index: PackIndex, number: int) -> Future[Data]:
        with self._lock:
            return self._under_way.pop((index.pack, number), Future())

    def _save(self, index: PackIndex, number: int, data: Data) -> None:
        with self._lock:
            offset = self._end
            if offset + len(data) > self._limit:
                return
            self._end += len(data)
        try:
            written = os.pwrite(self._descriptor(), data, offset)
        except OSError as error:
            log.info("No more frames are kept in %s: %s", self._directory, error)
            with self._lock:
                self._limit = 0
            return
        if written == len(data):
            with self._lock:
                self._pack(index).offsets[number] = offset

    def _load(self, index: PackIndex, number: int, offset: int) -> bytes | None:
        try:
            data = os.pread(self._descriptor(), index.frames[number].stored_size, offset)
        except OSError as error:
            log.warning("Frames kept in %s cannot be read: %s", self._directory, error)
            return None
        return data if is_sound(data) else None

    def _descriptor(self) -> int:
        with self._lock:
            if self._file is None:
                self._file = TemporaryFile(dir=self._directory)  # noqa: SIM115 -- see close()
            return self._file.fileno()

    def _pack(self, index: PackIndex) -> _Pack:
        pack = self._packs.get(index.pack)
        if pack is None or len(pack.needed) != len(index.frames):
            pack = self._packs[index.pack] = _Pack(len(index.frames))
        return pack

    def _free(self) -> int:
        try:
            status = os.statvfs(self._directory)
        except OSError:
            return 0
        return status.f_bavail * status.f_frsize
