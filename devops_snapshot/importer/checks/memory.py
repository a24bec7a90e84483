"""Memory of the host, which guests fill as they please up to what their definitions say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import libvirt

from ...console import human_size
from ...hypervisor import asking
from ...manifest.check import definitions_in
from ...manifest.definition import Definition
from ...manifest.document import Node
from ..findings import Finding, Verdict
from ..target import Target
from .scene import Scene

_MEMINFO = Path("/proc/meminfo")
_SUBJECT = "memory"
_KIB = 1024
_AVAILABLE = ("free", "buffers", "cached")


def check_memory(scene: Scene) -> Iterator[Finding]:
    """Guests with more than there is would make the host kill them, or others."""
    wanted = sum(_wanted(scene, node) for node in scene.manifest.environment.nodes)
    there, available = _memory(scene.target)
    told = f"guests may fill {human_size(wanted)}, this host has {human_size(there)}"
    if wanted > there:
        yield Finding(
            _SUBJECT,
            Verdict.AVOIDABLE if scene.starts_guests else Verdict.NOTE,
            told,
            "--nodes brings some of them; --define-only brings all of them off",
            ("--define-only",) if scene.starts_guests else (),
        )
    elif wanted > available:
        told = f"guests may fill {human_size(wanted)}, {human_size(available)} are free"
        yield Finding(_SUBJECT, Verdict.NOTE, told, "Others may have to be switched off")
    else:
        yield Finding(_SUBJECT, Verdict.FINE, told)


def _wanted(scene: Scene, node: Node) -> int:
    """Bytes, now or at a snapshot; what lies in huge pages has its own check."""
    definitions = [scene.definitions[node.name]]
    for snapshot in node.snapshots:
        definitions += definitions_in(snapshot, f"node {node.name!r}")
    return max(map(_ordinary, definitions))


def _ordinary(definition: Definition) -> int:
    in_huge_pages = definition.root.find("memoryBacking/hugepages") is not None
    return 0 if in_huge_pages else definition.memory


def _memory(target: Target) -> tuple[int, int]:
    """Bytes of the host, and of those that nobody needs now; swap counts where we see it."""
    with asking("asking for the memory of the host"):
        told = target.conn.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    swap = _swap() if target.is_local else (0, 0)
    available = sum(told.get(kind, 0) for kind in _AVAILABLE)
    return (told["total"] + swap[0]) * _KIB, (available + swap[1]) * _KIB


def _swap() -> tuple[int, int]:
    """KiB of all swap, and of what is free."""
    lines = (line.split() for line in _MEMINFO.read_text().splitlines())
    told = {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}
    return told.get("SwapTotal", 0), told.get("SwapFree", 0)
