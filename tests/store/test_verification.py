"""Verification finds every kind of damage, names the exports that it touches, and goes on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from devops_snapshot.errors import FormatError, StorageError
from devops_snapshot.remote import AccessError, Remote, connect
from devops_snapshot.store import LayerId, LayerKind, Repository, collect
from devops_snapshot.store.exports.deletion import delete_export
from devops_snapshot.store.exports.pins import pin_export
from devops_snapshot.store.exports.retention import configure
from devops_snapshot.store.format.sealed import seal
from devops_snapshot.store.health.damage import load_damage
from devops_snapshot.store.health.history import DATA_VERIFICATION, VERIFICATION, last
from devops_snapshot.store.health.verification import VerificationReport, verify

from .place import CHUNK, SEGMENT, export, make_file, noise, objects, opened, restore
from .saved_memory import PAGE, RAM, pages, saved

_PLACES = 3  # that are damaged in each object


class Lab:
    """A repository with two exports: both hold ``base``, each an overlay of its own."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = tmp_path / "repository"
        self._work = tmp_path
        self._monkeypatch = monkeypatch
        text = b"some text that compresses " * 10_000
        self.base = make_file(tmp_path / "base", 2 * SEGMENT, {0: noise(20 * CHUNK), SEGMENT: text})
        self.overlays = [
            make_file(tmp_path / f"overlay-{n}", SEGMENT + 5, {0: noise(3 * CHUNK + 7, seed=9 + n)})
            for n in range(2)
        ]
        self.exports = [self.export(number) for number in range(2)]
        self.ids = [export_id for export_id, _ in self.exports]

    def export(self, number: int) -> tuple[str, list[LayerId]]:
        """Export the base and one overlay; their chunks lie in separate packs."""
        with opened(self.directory) as repository:
            export_id, layers, _ = export(repository, self.base, kind=LayerKind.BASE)
            del export_id
            export_id, layers, _ = export(repository, self.base, self.overlays[number])
            self.forget(repository)
        return export_id, layers

    def forget(self, repository: Repository) -> None:
        """Leave only the exports of the base with an overlay."""
        for entry in repository.exports():
            if entry.summary["files"] == 1:
                (self.directory / f"exports/{entry.id}.json").unlink()

    def verify(
        self, *, read_data: bool = True, exports: list[str] | None = None
    ) -> VerificationReport:
        """Verify as a client that has never seen the repository."""
        self.new_cache()
        with opened(self.directory) as repository:
            return verify(repository, read_data=read_data, exports=exports)

    def imports(self, number: int) -> bool:
        """Import an export: False if it fails, and every byte is right if it does not."""
        self.new_cache()
        export_id, layers = self.exports[number]
        target = self._work / "copy"
        try:
            with opened(self.directory) as repository, repository.reading(export_id) as session:
                assert session.manifest == b"{}"
                for layer, path in zip(layers, [self.base, self.overlays[number]], strict=True):
                    assert restore(session, layer, target).read_bytes() == path.read_bytes()
                    target.unlink()
        except FormatError:
            return False
        return True

    def forget_damage(self) -> None:
        for path in objects(self.directory, "damaged"):
            path.unlink()

    def new_cache(self) -> None:
        number = len(list(self._work.glob("cache-*")))
        (self._work / f"cache-{number}").mkdir()
        self._monkeypatch.setenv("XDG_CACHE_HOME", str(self._work / f"cache-{number}"))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def flipped(content: bytes, choose: random.Random) -> bytes:
    changed = bytearray(content)
    changed[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
    return bytes(changed)


def truncated(content: bytes, choose: random.Random) -> bytes:
    return content[: choose.randrange(len(content))]


def test_names_that_are_nobodys_business(lab: Lab) -> None:
    """The format says to ignore them: what a backup program or an administrator left there."""
    for directory in (
        "layers",
        "packs",
        "exports",
        "pins",
        "settings",
        "samples",
        "history",
        "leases",
    ):
        (lab.directory / directory).mkdir(exist_ok=True)
        (lab.directory / directory / "README").write_text("Do not touch")
    assert lab.verify(read_data=True).findings == []


def test_nothing_is_wrong(lab: Lab) -> None:
    for read_data in (False, True):
        report = lab.verify(read_data=read_data)
        assert report.findings == []
        assert (report.exports, report.layers, report.packs) == (2, 3, 3)
        assert (report.bytes_read > 20 * CHUNK) == read_data
    with connect(f"file://{lab.directory}") as remote:
        for kind in (VERIFICATION, DATA_VERIFICATION):
            event = last(remote, kind)
            assert event is not None
            assert event.facts["exports"] == 2
            assert event.facts["findings"] == 0
        assert not load_damage(remote)
    assert objects(lab.directory, "leases") == []


@pytest.mark.parametrize("damage", [flipped, truncated])
@pytest.mark.parametrize("kind", ["packs", "layers", "exports"])
def test_damage_at_any_place(
    lab: Lab, kind: str, damage: Callable[[bytes, random.Random], bytes]
) -> None:
    """It is found, named with exactly the exports that it touches, and never imported."""
    choose = random.Random(f"{kind} {damage.__name__}")
    for path in objects(lab.directory, kind):
        content = path.read_bytes()
        for _ in range(_PLACES):
            path.write_bytes(damage(content, choose))
            report = lab.verify()
            named = str(path.relative_to(lab.directory))
            assert {finding.object for finding in report.findings} == {named}
            for number, export_id in enumerate(lab.ids):
                assert lab.imports(number) == (export_id not in report.damaged_exports)
            assert report.damaged_exports
            lab.forget_damage()
        path.write_bytes(content)
    assert lab.verify().findings == []


def test_damage_of_small_objects(lab: Lab) -> None:
    """None of them keeps an export from being imported."""
    with opened(lab.directory) as repository:
        pin_export(repository, lab.ids[0], by="me")
        configure(repository, keep=timedelta(days=3))
        deleted, _, _ = export(repository, lab.base)
        delete_export(repository, deleted)
    lab.verify()
    (lab.directory / "damaged").mkdir(exist_ok=True)
    (lab.directory / f"damaged/{'0' * 32}.json").write_bytes(
        seal("damage", {"packs": {}, "layers": {}})
    )
    choose = random.Random(1)
    for kind in ("pins", "settings", "deleted", "history", "damaged", "samples"):
        paths = objects(lab.directory, kind)[:2]
        assert paths
        for path in paths:
            content = path.read_bytes()
            for damage in (flipped, truncated):
                path.write_bytes(damage(content, choose))
                findings = lab.verify().findings
                named = str(path.relative_to(lab.directory))
                assert [finding.object for finding in findings] == [named]
                assert lab.imports(0)
                assert lab.imports(1)
            path.write_bytes(content)


@pytest.mark.parametrize("kind", ["packs", "layers"])
def test_what_is_missing(lab: Lab, kind: str) -> None:
    for path in objects(lab.directory, kind):
        content = path.read_bytes()
        path.unlink()
        report = lab.verify(read_data=False)
        assert path.name.partition(".")[0] in report.findings[0].object
        for number, export_id in enumerate(lab.ids):
            assert lab.imports(number) == (export_id not in report.damaged_exports)
        path.write_bytes(content)


def test_without_reading_data(lab: Lab) -> None:
    """Frames where no segment lies are not looked at."""
    pack = max(objects(lab.directory, "packs"), key=lambda path: path.stat().st_size)
    content = pack.read_bytes()
    pack.write_bytes(content[:20] + b"x" + content[21:])
    assert lab.verify(read_data=False).findings == []
    assert [finding.kind for finding in lab.verify().findings] == ["pack"]
    again = lab.verify(read_data=False)  # what is known to be damaged is looked at
    assert again.damaged_exports == sorted(lab.ids)


def test_one_damage_hides_no_other(lab: Lab) -> None:
    paths = [p for kind in ("packs", "layers", "exports") for p in objects(lab.directory, kind)]
    for path in paths[:-1]:
        path.write_bytes(flipped(path.read_bytes(), random.Random(5)))
    expected = {str(path.relative_to(lab.directory)) for path in paths[:-1]}
    assert {finding.object for finding in lab.verify().findings} == expected
    assert lab.verify().damaged_exports == sorted(lab.ids)


def test_frames_of_a_pack_are_told_apart(lab: Lab) -> None:
    """An export that needs none of the damaged frames is not named."""
    with opened(lab.directory) as repository:
        both, _, _ = export(repository, *lab.overlays)
        assert len(objects(lab.directory, "packs")) == 3
        long = make_file(lab.directory.parent / "long", 60 * CHUNK, {0: noise(60 * CHUNK, seed=70)})
        part = make_file(lab.directory.parent / "part", 10 * CHUNK, {0: noise(10 * CHUNK, seed=70)})
        long_id, _, _ = export(repository, long)
        part_id, _, _ = export(repository, part)
    (pack,) = [path for path in objects(lab.directory, "packs") if path.name[:8] == long_id[-8:]]
    content = bytearray(pack.read_bytes())
    content[50 * CHUNK] ^= 1
    pack.write_bytes(content)
    (finding,) = lab.verify().findings
    assert finding.exports == [long_id]
    assert "frame 3" in finding.what
    content[5 * CHUNK] ^= 1
    pack.write_bytes(content)
    findings = lab.verify().findings
    assert [finding.exports for finding in findings] == [sorted([long_id, part_id]), [long_id]]
    assert both not in {export for finding in findings for export in finding.exports}


def test_on_each_kind_of_storage(repository: Repository, directory: Path, tmp_path: Path) -> None:
    file = make_file(tmp_path / "file", 5 * CHUNK, {0: noise(5 * CHUNK)})
    export_id, _, _ = export(repository, file)
    assert verify(repository, read_data=True).findings == []
    (path,) = objects(directory, "packs")
    path.write_bytes(flipped(path.read_bytes(), random.Random(4)))
    assert verify(repository, read_data=True).damaged_exports == [export_id]
    path.unlink()
    (finding,) = verify(repository).findings
    assert (finding.object, finding.what) == (str(path.relative_to(directory)), "it is missing")


def test_saved_memories(lab: Lab) -> None:
    """Their pages lie elsewhere than in the file."""
    content = pages({number: noise(PAGE, seed=number) for number in range(40)})
    (lab.directory.parent / "save").write_bytes(saved({"pc.ram": RAM}, [content]))
    with opened(lab.directory) as repository:
        path = lab.directory.parent / "save"
        export_id, (layer,), _ = export(repository, path, kind=LayerKind.MEMORY)
    (found,) = (path for path in objects(lab.directory, "layers") if path.name.startswith(layer))
    assert b'"encoding":"ram"' in found.read_bytes()
    assert lab.verify().findings == []
    (pack,) = (path for path in objects(lab.directory, "packs") if path.name[:8] == export_id[-8:])
    whole = pack.read_bytes()
    choose = random.Random(6)
    for _ in range(_PLACES):
        pack.write_bytes(flipped(whole, choose))
        assert lab.verify().damaged_exports == [export_id]
        lab.forget_damage()


def test_a_newer_format(lab: Lab) -> None:
    for path in objects(lab.directory, "layers", "exports"):
        head = json.loads(path.read_bytes().partition(b"\n")[0])
        del head["checksum"], head["body_size"], head["body_blake3"]
        path.write_bytes(seal("", {**head, "version": 2}))
    for path in objects(lab.directory, "packs"):
        content = path.read_bytes()
        path.write_bytes(content[:-56] + b"\2" + content[-55:])
    report = lab.verify()
    assert {finding.what for finding in report.findings} == {"has format version 2, known is 1"}
    assert len(report.findings) == 8
    assert report.damaged_exports == sorted(lab.ids)


def test_only_some_exports(lab: Lab) -> None:
    for path in objects(lab.directory, "packs"):
        path.write_bytes(flipped(path.read_bytes(), random.Random(2)))
    (path,) = [p for p in objects(lab.directory, "packs") if p.name[:8] == lab.ids[1][-8:]]
    report = lab.verify(exports=[lab.ids[1]])
    assert len(report.findings) == 2
    assert path.name in {Path(finding.object).name for finding in report.findings}
    assert report.damaged_exports == [lab.ids[1]]
    with connect(f"file://{lab.directory}") as remote:
        assert len(load_damage(remote).packs) == 2
        assert last(remote, DATA_VERIFICATION) is None


@pytest.mark.parametrize("kind", ["packs", "layers"])
def test_a_later_export_heals(lab: Lab, kind: str) -> None:
    damaged = objects(lab.directory, kind)
    for path in damaged:
        path.write_bytes(flipped(path.read_bytes(), random.Random(kind)))
    assert not lab.imports(0)
    assert lab.verify().damaged_exports == sorted(lab.ids)
    lab.export(1)
    assert lab.imports(1)
    report = lab.verify()
    assert lab.ids[1] not in report.damaged_exports
    assert report.damaged_exports == [lab.ids[0]]
    lab.export(0)
    assert lab.imports(0)
    report = lab.verify()
    assert report.findings == []
    assert report.left_over == 3
    for path in damaged:  # as collection does
        path.unlink()
    report = lab.verify()
    assert (report.findings, report.left_over) == ([], 0)
    assert objects(lab.directory, "damaged") == []
    assert lab.imports(0)
    assert lab.imports(1)


def test_a_pack_that_was_put_right(lab: Lab) -> None:
    """As from a backup of the storage node: it is relied upon again once it was read."""
    (path, *_) = objects(lab.directory, "packs")
    content = path.read_bytes()
    path.write_bytes(flipped(content, random.Random(3)))
    assert lab.verify().findings
    path.write_bytes(content)
    assert objects(lab.directory, "damaged")
    assert lab.verify(read_data=False).findings == []
    assert objects(lab.directory, "damaged") == []


class Interrupting:
    """A remote on which something happens when an object is read for the first time."""

    def __init__(self, remote: Remote, prefix: str, happen: Callable[[], None]) -> None:
        self._remote = remote
        self._prefix = prefix
        self._happen: Callable[[], None] | None = happen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._remote, name)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        happen = self._happen
        if happen and path.startswith(self._prefix):
            self._happen = None
            happen()
        return self._remote.read(path, offset, length)


@pytest.mark.parametrize("read_data", [False, True])
@pytest.mark.parametrize("prefix", ["exports/", "packs/", "layers/"])
@pytest.mark.parametrize("event", ["deleted", "moved"])
def test_what_goes_meanwhile_is_no_damage(
    lab: Lab, event: str, prefix: str, read_data: bool
) -> None:
    """An export is deleted and collected, or its chunks are moved into other packs."""

    def delete() -> None:
        with opened(lab.directory) as repository:
            delete_export(repository, lab.ids[0])
            assert collect(repository).packs == 1

    def move() -> None:
        old = objects(lab.directory, "packs", "layers")
        aside = lab.directory.parent / "aside"
        (lab.directory / "packs").rename(aside)
        (lab.directory / "packs").mkdir()
        for number in range(2):
            lab.export(number)
        for path in aside.rglob("*-*"):
            assert path.is_file()
        for path in old:
            path.unlink(missing_ok=True)

    lab.new_cache()
    with connect(f"file://{lab.directory}") as remote:
        happen = delete if event == "deleted" else move
        wrapped = cast(Remote, Interrupting(remote, prefix, happen))
        report = verify(Repository.open(wrapped), read_data=read_data)
    assert report.findings == []
    assert objects(lab.directory, "damaged") == []
    assert lab.verify().findings == []


def test_a_silent_storage_node_is_no_damage(lab: Lab) -> None:
    class Silent:
        url = "file:///silent"

        def __getattr__(self, name: str) -> Any:
            raise StorageError("Connection was lost")

    with opened(lab.directory) as repository:
        repository.remote = cast(Remote, Silent())
        with pytest.raises(StorageError, match="Connection was lost"):
            verify(repository)


def test_without_permission_to_write(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    (path, *_) = objects(lab.directory, "packs")
    path.write_bytes(flipped(path.read_bytes(), random.Random(3)))

    class ReadOnly:
        def __init__(self, remote: Remote) -> None:
            self._remote = remote

        def __getattr__(self, name: str) -> Any:
            if name in {"write", "mkdir", "rename", "remove"}:
                raise AccessError("No permission")
            return getattr(self._remote, name)

    with opened(lab.directory) as repository:
        repository.remote = cast(Remote, ReadOnly(repository.remote))
        assert verify(repository, read_data=True).damaged_exports
    assert objects(lab.directory, "damaged", "history") == []


def test_an_object_that_may_not_be_read_is_not_given_up(lab: Lab) -> None:
    """Nobody is told to avoid it: the next export would send everything again."""

    class Refusing:
        def __init__(self, remote: Remote) -> None:
            self._remote = remote

        def __getattr__(self, name: str) -> Any:
            return getattr(self._remote, name)

        def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
            if path.startswith("packs/"):
                raise AccessError(f"No permission for {path}")
            return self._remote.read(path, offset, length)

    lab.new_cache()
    with connect(f"file://{lab.directory}") as remote:
        report = verify(Repository.open(cast(Remote, Refusing(remote))))
    assert len(report.findings) == 3
    assert report.damaged_exports == sorted(lab.ids)
    assert objects(lab.directory, "damaged") == []
