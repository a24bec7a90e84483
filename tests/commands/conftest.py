"""Exports to run commands on, made by the store: no virtual machine is needed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

import tests.devops.databases  # noqa: F401 # sets Django up
from devops_snapshot.shell import main
from devops_snapshot.store import JSON, FileSource, LayerKind
from tests.manifest.real import document
from tests.store.place import make_file, noise, opened

MANIFEST = json.dumps(document()).encode()
_AGO = timedelta(days=30).total_seconds()


@dataclass(frozen=True)
class Done:
    """What a command has said.

    :param code: its exit code
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The rows of its table, without header and rule."""
        return [line.split() for line in self.out.splitlines()[2:]]


def resealed(sealed: bytes, **fields: Any) -> bytes:
    """A sealed object with other fields in its head, and a checksum that fits."""
    line, newline, body = sealed.partition(b"\n")
    head = {**json.loads(line), **fields}
    del head["checksum"]
    text = json.dumps(head, separators=(",", ":"))[:-1].encode()
    return text + b',"checksum":"' + blake3(text).hexdigest().encode() + b'"}' + newline + body


class Node:
    """A storage node in a directory, and commands that use it."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capsys = capsys

    @property
    def url(self) -> str:
        return f"file://{self.directory}"

    def dos(self, *arguments: str) -> Done:
        """Run a command in this process; the commands for exports get ``--storage``."""
        self._capsys.readouterr()
        where = () if arguments[0].startswith("storage-") else ("--storage", self.url)
        try:
            code = main([*arguments, *where])
        except SystemExit as exit:
            code = int(exit.code or 0)
        said = self._capsys.readouterr()
        return Done(code, said.out, said.err)

    def export(
        self,
        name: str,
        *,
        description: str = "",
        keep: timedelta | None = None,
        manifest: bytes = b"{}",
        old: bool = False,
    ) -> str:
        """Export a file of 100 KB that no other export has; with ``old``, a month ago."""
        content = noise(100_000, seed=sum(name.encode()))
        file = make_file(self.directory.parent / name, 100_000, {0: content})
        with opened(self.directory) as repository, repository.writing() as session:
            with FileSource.open(file) as source:
                session.add_layer(source, kind=LayerKind.OVERLAY)
            summary: dict[str, JSON] = {
                "environment": name,
                "description": description or f"run of {name}",
                "size": 100_000,
            }
            session.publish(manifest, summary, keep)
        if old:
            path = self.directory / f"exports/{session.export_id}.json"
            then = path.stat().st_mtime - _AGO
            os.utime(path, (then, then))
        return session.export_id

    def ids(self) -> list[str]:
        return [item["id"] for item in self.dos("list-exports", "--json").json]


@pytest.fixture
def node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Node:
    """A storage node with an empty repository."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    node = Node(tmp_path / "storage", capsys)
    assert node.dos("storage-init", node.url).code == 0
    return node
