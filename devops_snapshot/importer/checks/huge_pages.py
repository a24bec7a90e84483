"""Huge pages, in which guests want their memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...console import human_size
from ..findings import Finding, Verdict
from .scene import Scene

_MEMINFO = Path("/proc/meminfo")
_SUBJECT = "huge pages"
_KIB = 1024


def check_huge_pages(scene: Scene) -> Iterator[Finding]:
    """Without them such a guest does not start."""
    wanted = [
        definition
        for definition in scene.definitions.values()
        if definition.root.find("memoryBacking/hugepages") is not None
    ]
    if not wanted or not scene.target.is_local:
        return
    page, free = _free()
    needed = sum(definition.memory for definition in wanted)
    told = f"{human_size(needed)} of memory in huge pages, {human_size(free * page)} are free"
    if needed <= free * page:
        yield Finding(_SUBJECT, Verdict.FINE, told)
        return
    starts = scene.starts_guests
    pages = -(-needed // page) if page else 0
    yield Finding(
        _SUBJECT,
        Verdict.AVOIDABLE if starts else Verdict.NOTE,
        told,
        f"Reserve them ('sysctl -w vm.nr_hugepages={pages}' or more) before guests are started; "
        "--define-only brings them off",
        ("--define-only",) if starts else (),
    )


def _free() -> tuple[int, int]:
    """Bytes of a huge page, and how many are free."""
    lines = (line.split() for line in _MEMINFO.read_text().splitlines())
    told = {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}
    return told.get("Hugepagesize", 0) * _KIB, told.get("HugePages_Free", 0)
