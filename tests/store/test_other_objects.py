"""What one object of a layer no longer finds, another one does: a later export heals an earlier."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from devops_snapshot.errors import FormatError
from devops_snapshot.remote import connect
from devops_snapshot.store import LayerKind, Repository
from devops_snapshot.store.collection.condemned import Objects, condemn, load_avoided
from devops_snapshot.store.lease import hold_lease

from .place import CHUNK, SEGMENT, export, make_file, noise, objects, opened, restore
from .saved_memory import PAGE, RAM, pages, saved

FRAMES = range(16, 3 * 2**20, 2**20)  # somewhere in each of the first frames of a pack of noise


class Twice:
    """A layer of which two objects say that its chunks lie in different packs, both there."""

    def __init__(self, directory: Path, file: Path, kind: LayerKind) -> None:
        self.directory = directory
        self.file = file
        with opened(directory) as repository:
            self.export_id, (self.layer,), _ = export(repository, file, kind=kind)
        self.packs = objects(directory, "packs")
        away = [pack.rename(directory / pack.name) for pack in self.packs]
        with opened(directory) as repository:
            export(repository, file, kind=kind)
        others = objects(directory, "packs")
        for pack, path in zip(away, self.packs, strict=True):
            pack.rename(path)
        self.packs += others
        assert len(objects(directory, "layers")) == len(self.packs) == 2

    def read(self, target: Path) -> bytes:
        with (
            connect(f"file://{self.directory}") as remote,
            Repository.open(remote).reading(self.export_id) as session,
        ):
            content = restore(session, self.layer, target).read_bytes()
            target.unlink()
            start = random.Random(1).randrange(len(content))
            some = session.layer(self.layer).pread(start, 2 * CHUNK)
        assert some == content[start : start + 2 * CHUNK]
        return content


@pytest.fixture(params=[LayerKind.OVERLAY, LayerKind.MEMORY])
def twice(request: pytest.FixtureRequest, tmp_path: Path) -> Twice:
    path = tmp_path / "file"
    if request.param is LayerKind.OVERLAY:
        make_file(path, 2 * SEGMENT, {0: noise(3 * SEGMENT // 16), SEGMENT: noise(9 * CHUNK, 1)})
    else:
        content = {number: noise(PAGE, number) for number in range(3 * RAM // PAGE)}
        path.write_bytes(saved({"pc.ram": 4 * RAM}, [pages(content, size=4 * RAM)]))
    twice = Twice(tmp_path / "repository", path, request.param)
    assert twice.read(tmp_path / "copy") == path.read_bytes()
    return twice


def spoil(pack: Path, offset: int, length: int = 1) -> None:
    content = bytearray(pack.read_bytes())
    content[offset + 5000 : offset + 5000 + length] = bytes(length)
    pack.write_bytes(content)


def cut_off(pack: Path) -> None:
    pack.write_bytes(pack.read_bytes()[:-1])


def spoil_different_frames(first: Path, second: Path) -> None:
    spoil(first, FRAMES[0], 9)
    spoil(second, FRAMES[1], 9)


def spoil_all_but_one_frame(first: Path, second: Path) -> None:
    spoil(first, FRAMES[1], first.stat().st_size - FRAMES[1] - 10_000)
    spoil(second, FRAMES[0], 9)


DAMAGES: dict[str, Callable[[Path, Path], None]] = {
    "first missing": lambda first, _: first.unlink(),
    "second missing": lambda _, second: second.unlink(),
    "first cut off": lambda first, _: cut_off(first),
    "second cut off": lambda _, second: cut_off(second),
    "different frames": spoil_different_frames,
    "different frames, the other way round": lambda a, b: spoil_different_frames(b, a),
    "all but one frame": spoil_all_but_one_frame,
    "all but one frame, the other way round": lambda a, b: spoil_all_but_one_frame(b, a),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_layer_is_read_from_what_is_left(twice: Twice, tmp_path: Path, damage: str) -> None:
    """By a client that knows the indexes of both packs."""
    DAMAGES[damage](twice.packs[0], twice.packs[1])
    assert twice.read(tmp_path / "copy") == twice.file.read_bytes()


@pytest.mark.parametrize("damage", ["first missing", "second cut off", "different frames"])
def test_a_client_that_knows_nothing_reads_it_too(
    twice: Twice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    DAMAGES[damage](twice.packs[0], twice.packs[1])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other-cache"))
    assert twice.read(tmp_path / "copy") == twice.file.read_bytes()


def test_what_is_damaged_everywhere_is_named(twice: Twice, tmp_path: Path) -> None:
    for pack in twice.packs:
        spoil(pack, FRAMES[1], 9)
    with pytest.raises(FormatError, match="frame 1 is damaged") as caught:
        twice.read(tmp_path / "copy")
    assert any(pack.name in str(caught.value) for pack in twice.packs)
    assert not (tmp_path / "copy").exists()


def test_damaged_layer_objects_are_passed_over(twice: Twice, tmp_path: Path) -> None:
    one, other = objects(twice.directory, "layers")
    content = one.read_bytes()
    one.write_bytes(content[:-1])
    assert twice.read(tmp_path / "copy") == twice.file.read_bytes()
    other.write_bytes(other.read_bytes()[:-1])
    with pytest.raises(FormatError, match=f"Layer {twice.layer} is damaged"):
        twice.read(tmp_path / "copy")


def test_all_packs_missing(twice: Twice, tmp_path: Path) -> None:
    for pack in twice.packs:
        pack.unlink()
    with pytest.raises(FormatError, match="is damaged: it is missing"):
        twice.read(tmp_path / "copy")


@pytest.mark.parametrize("chosen", [0, 1])
def test_what_is_about_to_be_removed_is_not_preferred(
    twice: Twice, tmp_path: Path, caplog: pytest.LogCaptureFixture, chosen: int
) -> None:
    """Its packs are there still, and damaged here, so that whoever begins with them says so."""
    other = twice.packs[1 - chosen]
    spoil(other, FRAMES[1], 9)
    with connect(f"file://{twice.directory}") as remote:
        with hold_lease(remote, {"purpose": "collect"}) as lease:
            condemn(lease, f"{lease.id}-0", Objects(packs=frozenset({other.name})))
        assert load_avoided(remote).packs == {other.name}
    assert twice.read(tmp_path / "copy") == twice.file.read_bytes()
    assert "is damaged" not in caplog.text
