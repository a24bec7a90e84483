"""What a file on this host has already is not fetched, and never believed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from devops_snapshot.store import FileSink, LayerKind
from devops_snapshot.store.reading.at_hand import FileAtHand

from .place import CHUNK, SEGMENT, export, make_file, noise, opened
from .saved_memory import PAGE, RAM, pages, saved

FRAME = 16 * CHUNK
FEW = 200_000  # bytes: digests, and the recipe of a memory
FIRST, LAST, LAST_AT = noise(100 * CHUNK), noise(100 * CHUNK + 5, 1), 2 * SEGMENT + CHUNK
SIZE = LAST_AT + len(LAST)


def disk() -> bytes:
    """A hole in the middle is longer than a segment."""
    return FIRST.ljust(LAST_AT, b"\0") + LAST


def memory() -> bytes:
    size = 4 * RAM
    ram = {number: noise(PAGE, number) for number in range(size // PAGE) if number % 7}
    return saved({"pc.ram": size}, [pages(ram, size=size)])


KINDS = {"plain": (disk, LayerKind.OVERLAY), "ram": (memory, LayerKind.MEMORY)}


class Trial:
    """A file in a repository, and others that have something of it.

    :ivar received: bytes, for the last restore
    """

    def __init__(self, room: Path, content: bytes, kind: LayerKind) -> None:
        self.room, self.content = room, content
        file = room / "file"
        file.write_bytes(content)
        with opened(room / "repository") as repository:
            self.export_id, (self.layer,), _ = export(repository, file, kind=kind)

    def restore(self, *at_hand: bytes) -> int:
        """Restore with such files at hand; returns the bytes received for chunks."""
        with ExitStack() as stack:
            repository = stack.enter_context(opened(self.room / "repository"))
            session = stack.enter_context(repository.reading(self.export_id))
            files = []
            for number, content in enumerate(at_hand):
                path = self.room / f"at-hand-{number}"
                path.write_bytes(content)
                files.append(stack.enter_context(FileAtHand.open(path)))
            copy = self.room / "copy"
            with FileSink.create(copy) as sink:
                session.restore(self.layer, sink, at_hand=files)
            assert copy.read_bytes() == self.content
            copy.unlink()
            return session.stats.bytes_received

    def is_in(self, path: Path) -> bool:
        with (
            opened(self.room / "repository") as repository,
            repository.reading(self.export_id) as session,
            FileAtHand.open(path) as file,
        ):
            return session.layer(self.layer).is_in(file)


@pytest.fixture(params=KINDS)
def trial(tmp_path: Path, request: pytest.FixtureRequest) -> Trial:
    make, kind = KINDS[request.param]
    return Trial(tmp_path, make(), kind)


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + b"\xff" * 100 + content[at + 100 :]


def test_only_what_is_lacking_is_fetched(trial: Trial) -> None:
    whole = trial.restore()
    assert whole > 10 * FEW
    assert trial.restore(trial.content) < FEW
    half = trial.content[: len(trial.content) // 2]
    assert whole // 3 < trial.restore(half) < whole * 2 // 3
    holes = bytearray(trial.content)
    holes[: len(holes) // 2] = bytes(len(holes) // 2)
    assert whole // 4 < trial.restore(bytes(holes)) < whole * 7 // 8
    assert trial.restore(half, bytes(holes)) < FEW + 5 * FRAME


def test_what_is_wrong_is_fetched(trial: Trial) -> None:
    for at in (0, 5 * CHUNK + 7, len(trial.content) - 100):
        received = trial.restore(damaged(trial.content, at))
        assert 0 < received < FEW + 2 * FRAME, at


@pytest.mark.parametrize(
    "wrong",
    [
        lambda content: b"",
        lambda content: b"\xff" * len(content),
        lambda content: content[7:] + content[:7],
        lambda content: content * 2,
    ],
)
def test_any_file_may_be_at_hand(trial: Trial, wrong: Callable[[bytes], bytes]) -> None:
    trial.restore(wrong(trial.content))


def test_a_file_is_compared_byte_for_byte(trial: Trial) -> None:
    same = trial.room / "same"
    same.write_bytes(trial.content)
    assert trial.is_in(same)
    for other in (
        trial.content[:-1],
        trial.content + b"\0",
        damaged(trial.content, 5 * CHUNK + 7),
        damaged(trial.content, len(trial.content) - 100),
    ):
        same.write_bytes(other)
        assert not trial.is_in(same)


def test_holes_are_compared(tmp_path: Path) -> None:
    trial = Trial(tmp_path, disk(), LayerKind.OVERLAY)
    parts = {0: FIRST, LAST_AT: LAST}
    assert trial.is_in(make_file(tmp_path / "sparse", SIZE, parts))
    assert not trial.is_in(make_file(tmp_path / "less", SIZE, {0: FIRST}))
    more = {0: FIRST, SEGMENT + 3: b"x", LAST_AT: LAST}
    assert not trial.is_in(make_file(tmp_path / "more", SIZE, more))
