"""The format is what docs/repository-format.rst says."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from devops_snapshot.store import (
    LayerId,
    collect,
    configure,
    delete_export,
    pin_export,
    verify,
)
from devops_snapshot.store.exports import catalogue

from .foreign_reader import read_layer, read_samples, read_sealed, read_summary, samples_of
from .place import CHUNK, SEGMENT, export, make_file, noise, objects, opened

DOCUMENT = Path(__file__).parents[2] / "docs" / "repository-format.rst"


def test_a_foreign_reader_reads_everything(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    text = b"compresses well " * 20_000
    files = [
        make_file(tmp_path / "empty", 0, {}),
        make_file(tmp_path / "sparse", 3 * SEGMENT + 7, {0: noise(CHUNK), 2 * SEGMENT + 9: text}),
        make_file(tmp_path / "similar", 3 * SEGMENT, {0: noise(CHUNK), 5 * CHUNK: noise(99, 1)}),
    ]
    with opened(root) as repository:
        export(repository, files[1])
        export_id, layers, _ = export(repository, *files, manifest=b'{"nodes":[]}\n')
    head, _ = read_sealed(root / "repository.json", "devops-snapshot repository")
    assert head["features"] == {"read": [], "write": [], "collect": []}
    head, manifest = read_sealed(root / "exports" / f"{export_id}.json", "devops-snapshot export")
    assert manifest == b'{"nodes":[]}\n'
    assert head["layers"] == sorted(layers)
    for path, layer in zip(files, layers, strict=True):
        assert read_layer(root, layer) == path.read_bytes()


def test_ids_never_change(tmp_path: Path) -> None:
    """Computed once by hand from the document; another value is another format."""
    empty = make_file(tmp_path / "empty", 0, {})
    data = make_file(tmp_path / "data", 2 * CHUNK + 1, {0: b"a" * CHUNK})
    with opened(tmp_path / "repository") as repository:
        _, layers, _ = export(repository, empty, data)
    assert layers == [
        LayerId("0f976839f1ee91eb6b11efb00b60b88b1d1db43c4ecf57490ff59acc1d13b36b"),
        LayerId("934f9fa2c2120f3edb3bd788146905aac90af174543b4082336ed74a0b21bff9"),
    ]


def test_batches_tell_what_lies_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "repository"
    monkeypatch.setattr(catalogue, "MANY", 1)
    with opened(root) as repository:
        for seed in range(2):
            export(repository, make_file(tmp_path / f"{seed}", SEGMENT, {0: noise(SEGMENT, seed)}))
    packs = objects(root, "packs")
    told = [read_samples(path) for path in objects(root, "samples")]
    assert set().union(*(samples for samples, _ in told)) == set().union(*map(samples_of, packs))
    assert {pack for _, table in told for pack in table} == {path.name for path in packs}
    assert any(samples for samples, _ in told)
    lines = [line for path in objects(root, "summaries") for line in read_summary(path)]
    heads = [path.read_bytes().partition(b"\n") for path in objects(root, "exports")]
    assert sorted(lines) == sorted(line + newline for line, newline, _ in heads)


def test_a_foreign_reader_takes_the_object_that_can_be_read(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    path = make_file(tmp_path / "file", 3 * CHUNK, {0: noise(3 * CHUNK)})
    with opened(root) as repository:
        export(repository, path)
    for lost in objects(root, "packs"):
        lost.unlink()
    with opened(root) as repository:
        _, (layer,), _ = export(repository, path)
    assert len(objects(root, "layers")) == 2
    assert read_layer(root, layer) == path.read_bytes()


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    """Python holds such a byte of a file name as a lone surrogate."""
    summary = {"name": os.fsdecode(b"caf\xe9"), "other": "caf\u00e9 \U0001f600"}
    with opened(tmp_path) as repository:
        with repository.writing() as session:
            session.publish(b"{}", summary)
        (found,) = repository.exports()
    assert found.summary == summary
    (path,) = objects(tmp_path, "exports")
    assert read_sealed(path, "devops-snapshot export")[0]["summary"] == summary
    assert b'"caf\\udce9"' in path.read_bytes()


def test_the_document_names_every_field(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    documented = set(re.findall(r"``([a-z_0-9]+)``", DOCUMENT.read_text()))
    magics = set()
    with filled(root, tmp_path):
        for path, magic in sealed_objects(root):
            head, _ = read_sealed(path, f"devops-snapshot {magic}")
            assert head.keys() <= documented, path
            magics.add(magic)
    text = " ".join(DOCUMENT.read_text().split())
    assert magics == set(re.findall(r"agic ``devops-snapshot (\w+)``", text))


@contextmanager
def filled(root: Path, place: Path) -> Iterator[None]:
    """Make a repository that has an object of each kind for a while."""
    files = [make_file(place / f"{n}", CHUNK, {0: noise(CHUNK, n)}) for n in range(3)]
    with pytest.MonkeyPatch.context() as patch, opened(root) as repository:
        patch.setattr(catalogue, "MANY", 1)
        ids = [export(repository, path)[0] for path in files]
        pin_export(repository, ids[0], by="somebody")
        configure(repository)
        pack = next(path for path in objects(root, "packs") if path.name[:8] == ids[1][-8:])
        pack.write_bytes(pack.read_bytes()[:-1])
        assert verify(repository).findings
        delete_export(repository, ids[1])
        with repository.reading(ids[0]):  # what is condemned waits until its lease has ended
            collect(repository)
            delete_export(repository, export(repository, files[2])[0])
            yield


def sealed_objects(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each object that begins as sealed ones do, with what its magic says."""
    for path in objects(root):
        match = re.match(rb'\{"magic":"devops-snapshot (\w+)"', path.read_bytes())
        if match:
            yield path, match[1].decode()
