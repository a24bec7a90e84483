"""Fetching chunks: neighbouring frames in one read, every byte verified."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from devops_snapshot.errors import NotFoundError
from devops_snapshot.remote import Remote

from ..dedup.pack_indexes import PackIndexes
from ..format.frame import decode_frame
from ..format.hashing import Data, digest
from ..format.names import pack_path
from ..format.pack import HEADER, PackIndex, pack_header
from ..format.sealed import damaged
from .kept_frames import KeptFrames

SPAN_SIZE = 4 * 1024 * 1024  # bytes fetched with one request
_GAP = 64 * 1024  # bytes; skipping less than this is slower than fetching it


class Wanted(NamedTuple):
    """A chunk to be fetched.

    :param chunk: its number in the pack
    :param digest: what its plain bytes must have
    :param number: its number in the layer
    """

    chunk: int
    digest: bytes
    number: int


@dataclass(frozen=True)
class Span:
    """Neighbouring frames of one pack, and the chunks wanted from each."""

    index: PackIndex
    frames: Mapping[int, Sequence[Wanted]]  # ascending

    @property
    def offset(self) -> int:
        """Bytes; the first frame takes the header of the pack along, to check that too."""
        first = min(self.frames)
        return self.index.frames[first].offset if first else 0

    @property
    def length(self) -> int:
        last = self.index.frames[max(self.frames)]
        return last.offset + last.stored_size - self.offset


class ChunkReader:
    """Reads chunks from packs; may be used by several threads.

    :param kept: where frames are looked for before they are fetched
    """

    def __init__(
        self, remote: Remote, indexes: PackIndexes, kept: KeptFrames | None = None
    ) -> None:
        self._remote = remote
        self._indexes = indexes
        self._kept = kept
        self._lock = threading.Lock()
        self.bytes_received = 0  # of frames, compressed, from the repository

    def expect(self, wanted: Mapping[str, Iterable[range]]) -> None:
        """Tell which chunks will be fetched together, by pack.

        :raises FormatError: a pack is damaged or missing, or does not hold these chunks
        """
        if self._kept is None:
            return
        for pack, chunks in wanted.items():
            index = self._indexes.get(pack)
            self._kept.expect(index, {n for part in chunks for n in _frames(index, part)})

    def plan(self, pack: str, wanted: Sequence[Wanted]) -> Iterator[Span]:
        """Yield the requests that fetch all wanted chunks of one pack.

        :raises FormatError: the pack is damaged or missing, or does not hold these chunks
        """
        index = self._indexes.get(pack)
        frames: dict[int, list[Wanted]] = defaultdict(list)
        for item in wanted:
            if item.chunk >= len(index) or index.digest(item.chunk) != item.digest:
                raise damaged(f"Pack {pack_path(pack)}", f"it lacks chunk {item.digest.hex()}")
            frames[index.frame_of[item.chunk]].append(item)
        yield from _spans(index, frames)

    def fetch(
        self, span: Span, *, keep: bool = False, received: Callable[[int], None] = lambda size: None
    ) -> Iterator[tuple[Wanted, memoryview]]:
        """Yield the chunks of a span with their plain bytes.

        :param keep: the same frames will be asked for again
        :param received: told how many bytes are read from the repository
        :raises FormatError: a byte is not what was written
        """

        def read(numbers: Sequence[int]) -> dict[int, Data]:
            found: dict[int, Data] = {}
            for part in _spans(span.index, {number: span.frames[number] for number in numbers}):
                with self._lock:
                    self.bytes_received += part.length
                received(part.length)
                found |= self._read(part)
            return found

        if self._kept:
            frames = self._kept.fetch(span.index, list(span.frames), read, keep=keep)
        else:
            frames = read(list(span.frames))
        for number, wanted in span.frames.items():
            where = f"Pack {pack_path(span.index.pack)}, frame {number}"
            plain = memoryview(decode_frame(frames[number], where))
            for item in wanted:
                chunk = plain[span.index.slice_in_frame(item.chunk)]
                if digest(chunk) != item.digest:
                    raise damaged(where, f"chunk {item.digest.hex()} has other content")
                yield item, chunk

    def _read(self, span: Span) -> dict[int, Data]:
        """Return the frames of a span, as they are stored."""
        where = f"Pack {pack_path(span.index.pack)}"
        try:
            data = self._remote.read(pack_path(span.index.pack), span.offset, span.length)
        except NotFoundError as error:
            raise damaged(where, "it is missing") from error
        if len(data) != span.length:
            raise damaged(where, "it is cut off")
        if span.offset == 0 and data[: HEADER.size] != pack_header(span.index.kind):
            raise damaged(where, "its header makes no sense")
        view = memoryview(data)
        frames = {number: span.index.frames[number] for number in span.frames}
        return {
            number: view[frame.offset - span.offset :][: frame.stored_size]
            for number, frame in frames.items()
        }


def _frames(index: PackIndex, chunks: range) -> range:
    """Return the numbers of the frames in which some chunks lie."""
    if chunks.stop > len(index):
        raise damaged(f"Pack {pack_path(index.pack)}", f"it has no chunk {chunks.stop - 1}")
    return range(index.frame_of[chunks.start], index.frame_of[chunks.stop - 1] + 1)


def _spans(index: PackIndex, frames: Mapping[int, Sequence[Wanted]]) -> Iterator[Span]:
    """Yield the requests for some frames."""
    span: dict[int, Sequence[Wanted]] = {}
    for number in sorted(frames):
        if span and not _joins(Span(index, span), number):
            yield Span(index, span)
            span = {}
        span[number] = frames[number]
    if span:
        yield Span(index, span)


def _joins(span: Span, number: int) -> bool:
    frame = span.index.frames[number]
    gap = frame.offset - (span.offset + span.length)
    return gap <= _GAP and span.length + frame.stored_size <= SPAN_SIZE
