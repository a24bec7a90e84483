"""The storage pool: names that are taken, and room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from ...console import human_size
from ...hypervisor import asking
from ...snapshot.pool import is_there, pool_of
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
        if PurePath(path).name in there or is_there(scene.target, path):
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
        free = pool.info()[3] + scene.room.spare
    yield _of_room(
        f"in {pool.name()!r}",
        free,
        scene.room.to_write,
        "Make room there, or put it into another storage pool with --pool",
    )
    cache = scene.room.in_cache
    if cache is not None:
        remedy = "Make room there, or let XDG_CACHE_HOME name another directory"
        yield _of_room(f"in {cache.where}", cache.free, cache.to_write, remedy)


def _of_room(where: str, free: int, to_write: int, remedy: str) -> Finding:
    told = f"{human_size(free)} free {where}, {human_size(to_write)} to be written"
    if to_write > free:
        return Finding("room", Verdict.BLOCKING, told, remedy)
    return Finding("room", Verdict.FINE, told)
