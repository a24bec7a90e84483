"""Checking packs: header, size and index of each, and the frames whose chunks are wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from devops_snapshot.errors import NotFoundError, StorageError
from devops_snapshot.remote import Remote

from ..dedup.pack_indexes import PackIndexes
from ..format.names import pack_path
from ..format.pack import HEADER, PackIndex, pack_header
from ..format.sealed import damaged
from ..reading.chunk_reader import ChunkReader, Span, Wanted
from .fault import PACK, Fault, fault_of

_UNUSED, _WANTED, _READ = b"\0", b"\1", b"\2"


class PackCheck:
    """The packs of a repository and what is wrong with them. Takes a byte for each wanted chunk.

    Different packs may be checked and read by different threads.
    """

    def __init__(self, remote: Remote, indexes: PackIndexes) -> None:
        self._remote = remote
        self._indexes = indexes
        self._chunks = ChunkReader(remote, indexes)
        self._checked: set[str] = set()
        self._faults: dict[str, Fault] = {}  # of whole packs
        self._frames: dict[str, dict[int, Fault]] = {}
        self._marks: dict[str, bytearray] = {}
        self._sizes: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(not self._is_missing(pack) for pack in self._checked)

    def faults(self) -> Iterator[Fault]:
        """Yield all that is known to be wrong."""
        yield from self._faults.values()
        for frames in self._frames.values():
            yield from frames.values()

    def check(self, pack: str, size: int | None = None) -> None:
        """Check header, size and index of a pack, whatever is remembered of it."""
        self._checked.add(pack)
        path = pack_path(pack)
        try:
            index = self._indexes.refresh(pack, size)
            if self._remote.read(path, 0, HEADER.size) != pack_header(index.kind):
                raise damaged(f"Pack {path}", "its header makes no sense")
        except (StorageError, NotFoundError) as error:
            self._faults[pack] = self._fault(pack, error)

    def index(self, pack: str) -> PackIndex | Fault:
        """Return the index of a pack, or what is wrong with the whole of it."""
        if pack not in self._checked:
            self.check(pack)
        if pack not in self._faults:
            try:
                return self._indexes.get(pack)
            except (StorageError, NotFoundError) as error:
                self._faults[pack] = self._fault(pack, error)
        return self._faults[pack]

    def look_again(self) -> None:
        """Forget which packs are missing."""
        for pack in list(filter(self._is_missing, self._faults)):
            del self._faults[pack]
            self._checked.discard(pack)

    def want(self, pack: str, chunks: range | None = None) -> None:
        """Note which chunks :meth:`read_wanted` has to read; all of them if None."""
        index = self.index(pack)
        if isinstance(index, Fault):
            return
        self._sizes[pack] = index.size
        marks = self._marks.setdefault(pack, bytearray(len(index)))
        part = slice(0, len(index)) if chunks is None else slice(chunks.start, chunks.stop)
        marks[part] = marks[part].replace(_UNUSED, _WANTED)

    def unread(self) -> dict[str, int]:
        """Return the packs that have chunks to be read, each with about the bytes of these."""
        return {
            pack: self._sizes[pack] * marks.count(_WANTED) // len(marks)
            for pack, marks in self._marks.items()
            if _WANTED in marks
        }

    def read_wanted(self, pack: str) -> int:
        """Read what is wanted of a pack and return the number of bytes of its frames."""
        index = self.index(pack)
        marks = self._marks[pack]
        self._marks[pack] = marks.replace(_WANTED, _READ)
        if isinstance(index, Fault):
            return 0
        wanted = [chunk for chunk, mark in enumerate(marks) if mark == _WANTED[0]]
        for _ in self.read(index, [Wanted(chunk, index.digest(chunk), 0) for chunk in wanted]):
            pass
        frames = {index.frame_of[chunk] for chunk in wanted}
        return sum(index.frames[number].stored_size for number in frames)

    def read(
        self, index: PackIndex, wanted: Sequence[Wanted]
    ) -> Iterator[tuple[Wanted, bytes | memoryview]]:
        """Yield the chunks that are intact, some twice; note the frames that are not.

        :param wanted: chunks that the index has, with those digests
        """
        try:
            spans = list(self._chunks.plan(index.pack, wanted))
        except StorageError as error:  # its index had to be fetched again
            self._faults[index.pack] = self._fault(index.pack, error)
            return
        for span in spans:
            try:
                yield from self._chunks.fetch(span)
            except StorageError:
                yield from self._read_frames(span)

    def faults_among(self, pack: str, chunks: range) -> Iterator[Fault]:
        """Yield what is wrong with the frames of some chunks, as far as they were read."""
        frames = self._frames.get(pack)
        if not frames:
            return
        index = self.index(pack)
        if isinstance(index, PackIndex):
            for number in sorted(set(index.frame_of[chunks.start : chunks.stop])):
                if number in frames:
                    yield frames[number]

    def _read_frames(self, span: Span) -> Iterator[tuple[Wanted, bytes | memoryview]]:
        """Like ``fetch``, but one frame after the other."""
        for number, wanted in span.frames.items():
            try:
                yield from self._chunks.fetch(Span(span.index, {number: wanted}))
            except StorageError as error:
                self._note(span.index.pack, number, self._fault(span.index.pack, error))

    def _is_missing(self, pack: str) -> bool:
        return pack in self._faults and self._faults[pack].missing

    def _note(self, pack: str, frame: int, fault: Fault) -> None:
        if fault.missing:
            self._faults[pack] = fault
        else:
            self._frames.setdefault(pack, {})[frame] = fault

    def _fault(self, pack: str, error: StorageError | NotFoundError) -> Fault:
        return fault_of(PACK, pack_path(pack), error, self._remote)
