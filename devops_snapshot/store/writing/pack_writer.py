"""Writing a pack: frames are compressed by several threads and sent in order by one."""

from __future__ import annotations

import queue
import threading
from array import array
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress

from ..format.frame import FRAME_PLAIN_LIMIT, Frame, encode_frame
from ..format.hashing import Data
from ..format.names import pack_path
from ..format.pack import (
    HEADER,
    PACK_CHUNKS,
    PACK_SIZE,
    LayerKind,
    PackedFrame,
    PackIndex,
    encode_trailer,
    pack_header,
    trailer_size,
)
from ..lease import Lease

_FRAMES_UNDER_WAY = 8  # bounds memory: each holds up to 1 MiB plain and its compressed form


class PackWriter:
    """A pack that is being filled. ``add`` and ``finish`` are for one thread."""

    def __init__(
        self, lease: Lease, name: str, kind: LayerKind, *, compress: Executor, send: Executor
    ) -> None:
        self.name = name
        self._kind = kind
        self._compress = compress
        self._digests = bytearray()
        self._sizes = array("I")
        self._frame: list[Data] = []
        self._frame_size = 0
        self._of_segments = False  # the frame that is being filled
        self._frames: list[PackedFrame] = []
        self._end = HEADER.size  # of the frames that are compressed
        self._plain_given = 0  # bytes handed to compression; changed by the adding thread only
        self._plain_sent = 0  # bytes that came back from it; changed by the sending thread only
        self._queue: queue.Queue[Future[Frame] | None] = queue.Queue(_FRAMES_UNDER_WAY)
        self._cancelled = threading.Event()
        self._sending = send.submit(lease.write, pack_path(name), self._blocks())

    def add(self, digest: bytes, data: Data, *, segment: bool) -> None:
        """Append a chunk; segments share no frame with others, for they are read without them."""
        if self._frame_size + len(data) > FRAME_PLAIN_LIMIT or segment != self._of_segments:
            self._end_frame()
            self._of_segments = segment
        self._digests += digest
        self._sizes.append(len(data))
        self._frame.append(data)
        self._frame_size += len(data)

    @property
    def bytes_sent(self) -> int:
        """Bytes that are on the storage node or on their way."""
        return self._end

    def is_full(self) -> bool:
        """Say whether one more frame could make the pack too large, if nothing compressed."""
        trailer = trailer_size(len(self._frames) + _FRAMES_UNDER_WAY + 2, len(self._sizes) + 1024)
        under_way = self._plain_given - self._plain_sent + self._frame_size + 2 * FRAME_PLAIN_LIMIT
        return self._end + under_way + trailer > PACK_SIZE or len(self._sizes) >= PACK_CHUNKS

    def end(self) -> None:
        """Add nothing more; the rest is sent in the background."""
        self._end_frame()
        self._put(None)

    def finish(self) -> PackIndex:
        """Wait until the pack is durable under its name."""
        size = self._sending.result()
        return self._index(size)

    def cancel(self) -> None:
        """Stop sending; nothing remains of the pack."""
        self._cancelled.set()
        with suppress(queue.Empty):  # the sending thread takes some as well
            while True:
                self._queue.get_nowait()
        self._queue.put(None)

    def _end_frame(self) -> None:
        if self._frame:
            self._plain_given += self._frame_size
            plain = b"".join(self._frame)  # here, so that what chunks were cut from can go
            self._put(self._compress.submit(encode_frame, plain, len(self._frame)))
            self._frame, self._frame_size = [], 0

    def _put(self, item: Future[Frame] | None) -> None:
        while True:
            try:
                self._queue.put(item, timeout=0.2)
                return
            except queue.Full:
                if self._sending.done():
                    self._sending.result()

    def _blocks(self) -> Iterator[bytes]:
        """Yield what the pack consists of; runs in the sending thread."""
        yield pack_header(self._kind.value)
        while future := self._queue.get():
            frame = future.result()
            self._note(frame)
            yield frame.data
        if self._cancelled.is_set():
            raise CancelledPackError
        size = self._end + trailer_size(len(self._frames), len(self._sizes))
        yield encode_trailer(self._index(size))

    def _note(self, frame: Frame) -> None:
        first = self._frames[-1].first_chunk + self._frames[-1].chunks if self._frames else 0
        size = len(frame.data)
        self._frames.append(PackedFrame(self._end, size, frame.plain_size, first, frame.chunks))
        self._end += size
        self._plain_sent += frame.plain_size

    def _index(self, size: int) -> PackIndex:
        return PackIndex(
            self.name, self._kind.value, self._frames, bytes(self._digests), self._sizes, size
        )


class CancelledPackError(RuntimeError):
    """Unwinds the sending thread after :meth:`PackWriter.cancel`."""
