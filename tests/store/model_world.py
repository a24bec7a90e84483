"""Layers of a few chunks, and what clients do with them, for the tests that interleave clients."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from devops_snapshot.remote import AccessError, Remote
from devops_snapshot.store import Extent, ImportSession, LayerId, LayerKind, Repository

from .place import CHUNK

Content = tuple[int, ...]  # the chunks of a layer by number


@lru_cache(maxsize=64)
def chunk(number: int) -> bytes:
    """A chunk that differs from all others and is quickly compressed."""
    return (b"chunk %06d" % number).ljust(64, b".") * (CHUNK // 64)


def plain(content: Content) -> bytes:
    return b"".join(map(chunk, content))


@dataclass(frozen=True)
class Chunks:
    """A layer source of some chunks."""

    content: Content

    @property
    def size(self) -> int:
        return len(self.content) * CHUNK

    def extents(self) -> Iterator[Extent]:
        yield Extent(0, self.size)

    def pread(self, offset: int, length: int) -> bytes:
        return plain(self.content)[offset : offset + length]


@dataclass(frozen=True)
class Stored:
    """What an export must give back: each layer with its content."""

    layers: Sequence[tuple[LayerId, Content]]

    def check(self, session: ImportSession) -> None:
        for layer, content in self.layers:
            reader = session.layer(layer)
            assert reader.pread(0, reader.size) == plain(content)


def export(
    remote: Remote, contents: Sequence[Content], exports: dict[str, Stored], **publish: object
) -> str:
    """Export some layers; tell ``exports`` before they are published what they hold."""
    with Repository.open(remote).writing() as session:
        layers = [
            (session.add_layer(Chunks(content), kind=LayerKind.OVERLAY), content)
            for content in contents
        ]
        exports[session.export_id] = Stored(layers)
        session.publish(b"{}", {"layers": len(layers)}, **publish)  # type: ignore[arg-type]
    return session.export_id


def at_once(_seconds: float) -> None:
    """Stands in for sleeping: a collector that watches leases need not really wait."""


def age(path: Path, seconds: float) -> None:
    """Make an object older by the storage node's clock; it may be gone."""
    with suppress(FileNotFoundError):
        then = path.stat().st_mtime - seconds
        os.utime(path, (then, then))


def check(remote: Remote, export_id: str, stored: Stored) -> None:
    """Import an export and compare every byte."""
    with Repository.open(remote).reading(export_id) as session:
        stored.check(session)


class ReadOnly:
    """A look at a repository that leaves no trace: like a user without permission to write."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    def write(self, path: str, *_: object, **__: object) -> int:
        raise AccessError(f"{path} is only looked at")

    mkdir = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._remote, name)
