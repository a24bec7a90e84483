"""Fetching what some steps of a recipe take of the content, every chunk once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..format.hashing import CHUNK_SIZE
from ..reading.layer_content import LayerContent
from .recipe import Step

_MOST_CHUNKS = 160  # in memory: 10 MiB
_MOST_STEPS = 8192


class Gathered:
    """Parts of the content in memory.

    :param chunks: by their number; the others are holes
    """

    def __init__(self, chunks: Mapping[int, bytes]) -> None:
        self._chunks = chunks

    def read(self, start: int, stop: int) -> bytes:
        """Return a part of the content, which lies in what was gathered."""
        parts = []
        while start < stop:
            number, at = divmod(start, CHUNK_SIZE)
            length = min(stop - start, CHUNK_SIZE - at)
            chunk = self._chunks.get(number)
            parts.append(bytes(length) if chunk is None else chunk[at : at + length])
            start += length
        return b"".join(parts)


def gathered(
    steps: Iterable[Step], content: LayerContent
) -> Iterator[tuple[Sequence[Step], Gathered]]:
    """Yield steps in batches, and what they take of the content."""
    for batch, wanted in _batches(steps):
        spans = content.plan(_ranges(sorted(wanted)))
        chunks = {
            at // CHUNK_SIZE: bytes(data) for span in spans for at, data in content.fetch(span)
        }
        yield batch, Gathered(chunks)


def expect_gathered(steps: Iterable[Step], content: LayerContent) -> None:
    """Tell what :func:`gathered` will fetch.

    :raises FormatError: the repository is damaged
    """
    for _, wanted in _batches(steps):
        content.expect(_ranges(sorted(wanted)))


def _batches(steps: Iterable[Step]) -> Iterator[tuple[Sequence[Step], set[int]]]:
    """Yield steps, and the numbers of the chunks of which they take something.

    Where steps take a little here and there, a batch has fewer of them.
    """
    batch: list[Step] = []
    wanted: set[int] = set()
    for step in steps:
        chunks = range(step.source // CHUNK_SIZE, -(-step.source_end // CHUNK_SIZE))
        if len(batch) == _MOST_STEPS or (batch and len(wanted) + len(chunks) > _MOST_CHUNKS):
            yield batch, wanted
            batch, wanted = [], set()
        batch.append(step)
        wanted.update(chunks)
    if batch:
        yield batch, wanted


def _ranges(numbers: Iterable[int]) -> Iterator[range]:
    """Yield the same numbers, which ascend, as ranges."""
    start = stop = 0
    for number in numbers:
        if number != stop:
            if stop > start:
                yield range(start, stop)
            start = number
        stop = number + 1
    if stop > start:
        yield range(start, stop)
