"""The format is what docs/repository-format.rst says."""

from __future__ import annotations

import re
from pathlib import Path

from devops_snapshot.store import LayerId

from .foreign_reader import read_layer, read_sealed
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


def test_the_document_names_every_field(tmp_path: Path) -> None:
    with opened(tmp_path / "repository") as repository, repository.writing() as session:
        session.publish(b"", {})
        leases = objects(tmp_path / "repository", "leases")
        (lease,) = (path for path in leases if path.name == "lease.json")
        head, _ = read_sealed(lease, "devops-snapshot lease")
    export(repository, make_file(tmp_path / "file", 5, {}))
    fields = set(head)
    for path in objects(tmp_path / "repository", "layers", "exports"):
        kind = "layer" if "layers" in path.parts else "export"
        fields |= set(read_sealed(path, f"devops-snapshot {kind}")[0])
    fields |= set(
        read_sealed(tmp_path / "repository" / "repository.json", "devops-snapshot repository")[0]
    )
    documented = set(re.findall(r"``([a-z_0-9]+)``", DOCUMENT.read_text()))
    assert fields <= documented, fields - documented
