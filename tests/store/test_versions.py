"""Objects of unknown versions and features are refused, and unknown fields are not in the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from devops_snapshot.errors import FormatError
from devops_snapshot.store import (
    LayerId,
    Repository,
    collect,
    configure,
    delete_export,
    pin_export,
    plan_prune,
    prune,
    undelete_export,
    unpin_export,
)
from devops_snapshot.store.format.hashing import digest

from .place import CHUNK, export, make_file, noise, objects, opened, restore

Change = Callable[[dict[str, Any]], None]


def rewrite(path: Path, change: Change) -> None:
    """Change the head of a sealed object and seal it again."""
    line, _, body = path.read_bytes().partition(b"\n")
    head = json.loads(line)
    del head["checksum"]
    change(head)
    text = json.dumps(head, separators=(",", ":")).encode()[:-1]
    path.write_bytes(text + b',"checksum":"' + digest(text).hex().encode() + b'"}\n' + body)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture
def exported(directory: Path, tmp_path: Path) -> tuple[str, LayerId]:
    path = make_file(tmp_path / "file", CHUNK, {0: noise(CHUNK)})
    with opened(directory) as repository:
        export_id, (layer,), _ = export(repository, path)
    return export_id, layer


def read(directory: Path, exported: tuple[str, LayerId], target: Path) -> bytes:
    with opened(directory) as repository, repository.reading(exported[0]) as session:
        return restore(session, exported[1], target).read_bytes()


@pytest.mark.parametrize("kind", ["repository.json", "layers", "exports"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda head: head.update(version=2), "has format version 2, known is 1.*update"),
        (lambda head: head.update(magic="other"), "is not a .* but 'other'"),
        (lambda head: head.pop("features"), "a field is missing"),
        (lambda head: head.update(features=7), "a field is missing or makes no sense"),
    ],
)
def test_what_is_not_understood_is_refused(
    directory: Path,
    exported: tuple[str, LayerId],
    tmp_path: Path,
    kind: str,
    change: Change,
    message: str,
) -> None:
    path = directory / kind
    rewrite(path if path.is_file() else objects(directory, kind)[0], change)
    with pytest.raises(FormatError, match=message):
        read(directory, exported, tmp_path / "copy")


@pytest.mark.parametrize("kind", ["layers", "exports"])
def test_an_object_with_an_unknown_feature_is_refused(
    directory: Path, exported: tuple[str, LayerId], tmp_path: Path, kind: str
) -> None:
    rewrite(objects(directory, kind)[0], lambda head: head.update(features=["magnets"]))
    with pytest.raises(FormatError, match="cannot be read: it uses unknown features magnets"):
        read(directory, exported, tmp_path / "copy")


@pytest.mark.parametrize("kind", ["layers", "exports", "repository.json"])
def test_unknown_fields_are_kept_out_of_the_way(
    directory: Path, exported: tuple[str, LayerId], tmp_path: Path, kind: str
) -> None:
    path = directory / kind
    rewrite(
        path if path.is_file() else objects(directory, kind)[0],
        lambda head: head.update(later={"a": 1}),
    )
    assert read(directory, exported, tmp_path / "copy") == noise(CHUNK)


def test_repository_features(
    directory: Path, exported: tuple[str, LayerId], tmp_path: Path
) -> None:
    path = directory / "repository.json"

    def features(**changes: list[str]) -> None:
        rewrite(path, lambda head: head["features"].update(changes))

    features(write=["ink"], collect=["brooms"])
    assert read(directory, exported, tmp_path / "copy") == noise(CHUNK)
    with (
        opened(directory) as repository,
        pytest.raises(FormatError, match="cannot be written: it uses unknown features ink"),
        repository.writing(),
    ):
        pass
    with opened(directory) as repository:
        for change in (delete_export, undelete_export, partial(pin_export, by="me"), unpin_export):
            with pytest.raises(FormatError, match="cannot be changed: it uses unknown features"):
                change(repository, exported[0])
        with pytest.raises(FormatError, match="cannot be changed: it uses unknown features"):
            configure(repository, keep=timedelta(days=1))
        with pytest.raises(FormatError, match="cannot be changed: it uses unknown features"):
            prune(repository, plan_prune(repository))
        with pytest.raises(FormatError, match="cannot be collected: it uses unknown features"):
            collect(repository)
    features(read=["glasses"])
    with pytest.raises(FormatError, match="cannot be read: it uses unknown features glasses"):
        read(directory, exported, tmp_path / "copy2")


def test_an_unknown_encoding_is_refused(
    directory: Path, exported: tuple[str, LayerId], tmp_path: Path
) -> None:
    rewrite(objects(directory, "layers")[0], lambda head: head.update(encoding="folded"))
    with pytest.raises(FormatError, match="has encoding 'folded'"):
        read(directory, exported, tmp_path / "copy")


def test_an_unknown_pack_version_is_refused(
    directory: Path, exported: tuple[str, LayerId], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pack,) = objects(directory, "packs")
    content = bytearray(pack.read_bytes())
    content[-64 + 8] = 2
    pack.write_bytes(content)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other-cache"))
    with pytest.raises(FormatError, match=f"{pack.name} has format version 2"):
        read(directory, exported, tmp_path / "copy")


def test_an_unknown_codec_is_refused(
    directory: Path, exported: tuple[str, LayerId], tmp_path: Path
) -> None:
    (pack,) = objects(directory, "packs")
    content = bytearray(pack.read_bytes())
    stored = int.from_bytes(content[20:24], "little")
    content[16 + 3] = 9
    payload = content[48 : 48 + stored]
    content[32:48] = digest(bytes(content[16:32] + payload))[:16]
    pack.write_bytes(content)
    with pytest.raises(FormatError, match=f"{pack.name}, frame 0 has the unknown codec 9"):
        read(directory, exported, tmp_path / "copy")


def test_initialise_and_open(directory: Path) -> None:
    with opened(directory) as first, opened(directory) as second:
        assert isinstance(first, Repository)
        assert first.id == second.id
        assert len(first.id) == 32
