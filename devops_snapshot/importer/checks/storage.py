"""The storage pool: names that are taken, and room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...console import human_size
from ...hypervisor import asking
from ...snapshot.pool import pool_of
from ..findings import Finding, Verdict
from .scene import Scene


def check_storage(scene: Scene) -> Iterator[Finding]:
    yield from _check_files(scene)
    yield from _check_room(scene)


def _check_files(scene: Scene) -> Iterator[Finding]:
    pool = pool_of(scene.target)
    with asking(f"looking into storage pool {pool.name()}"):
        pool.refresh()
        there = set(pool.listVolumes())
    for exported, path in scene.paths.items():
        if exported in scene.in_place:
            continue
        if Path(path).name in there or Path(path).exists():
            yield Finding(
                "files",
                Verdict.AVOIDABLE,
                f"a file {path} is there already",
                "--name NEW gives files other names, --pool puts them into another storage pool",
                ("--name NEW",),
            )


def _check_room(scene: Scene) -> Iterator[Finding]:
    pool = pool_of(scene.target)
    with asking(f"asking for the size of storage pool {pool.name()}"):
        free = pool.info()[3] + scene.spare
    told = f"{human_size(free)} free in {pool.name()!r}, {human_size(scene.to_write)} to be written"
    if scene.to_write > free:
        remedy = "Make room there, or put it into another storage pool with --pool"
        yield Finding("room", Verdict.BLOCKING, told, remedy)
    else:
        yield Finding("room", Verdict.FINE, told)
