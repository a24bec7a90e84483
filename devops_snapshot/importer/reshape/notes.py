"""What a user has to know of an environment that is not what was exported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from ...manifest.document import Manifest
from ...snapshot.domain_xml import parse
from ..choices import Choices
from ..findings import Finding, Verdict

_SHOWN = 3


def notes(before: Manifest, after: Manifest, choices: Choices) -> Iterator[Finding]:
    """What is worth saying of each choice, for the table that an import begins with.

    :param before: as exported
    :param after: as :func:`~.reshape` has made it
    """
    if choices.disks_only:
        yield from _of_disks(before, after)
    if before.environment.name != after.environment.name:
        yield from _of_names(before, after, choices)
    if choices.snapshot is not None:
        yield from _of_snapshot(before, choices.snapshot)
    if choices.nodes:
        yield from _of_nodes(before, after)


def _of_disks(before: Manifest, after: Manifest) -> Iterator[Finding]:
    if any(s.state != "shutoff" for node in before.environment.nodes for s in node.snapshots):
        yield _note(
            "memory",
            "memory stays behind: guests boot from their disks, as after a power cut",
            "Programs that ran do not run, and file systems may be checked at boot",
        )
    asked, asked_now = _machines(before), _machines(after)
    for old, new in sorted({(asked[node].type, asked_now[node].type) for node in asked_now}):
        if old != new:
            yield _note("machine type", f"{old} becomes the newest {new!r} of this host")
    cpus = sorted({asked[node].cpu for node in asked_now if asked[node].cpu != asked_now[node].cpu})
    if cpus:
        yield _note("CPU", f"this host's own CPU takes the place of {_listed(cpus)}")


def _of_names(before: Manifest, after: Manifest, choices: Choices) -> Iterator[Finding]:
    old, new = before.environment.name, after.environment.name
    yield _note("names", f"{old!r} becomes {new!r}: domains and networks get new names and UUIDs")
    if choices.disks_only:
        yield _note(
            "MAC addresses",
            "network cards get new MAC addresses; DHCP entries follow them",
            "A guest that names its cards by MAC address has to be told the new ones",
        )
    elif any(s.state != "shutoff" for node in after.environment.nodes for s in node.snapshots):
        yield _note(
            "UUIDs",
            "a guest that comes back from memory sees the UUID of its original (SMBIOS) "
            "until it reboots",
            "Software that is licensed or registered by it may notice the change",
        )


def _of_snapshot(before: Manifest, name: str) -> Iterator[Finding]:
    every = {s.name for node in before.environment.nodes for s in node.snapshots}
    others = sorted(every - {name})
    if others:
        yield _note("snapshots", f"only {name!r} comes, without {_listed(others)}")
    if any(s.internal for node in before.environment.nodes for s in node.snapshots) and others:
        yield _note("snapshots", "data of other internal snapshots stays in the images, unnamed")


def _of_nodes(before: Manifest, after: Manifest) -> Iterator[Finding]:
    there = {node.name for node in after.environment.nodes}
    others = [node.name for node in before.environment.nodes if node.name not in there]
    if others:
        yield _note("nodes", f"not all come: {_listed(others)} stay behind")


def _listed(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class _Machine:
    """What a node asks for: QEMU's machine type, and the model or mode of its CPU."""

    type: str
    cpu: str


def _machines(manifest: Manifest) -> dict[str, _Machine]:
    return {node.name: _machine(parse(node.domain_xml)) for node in manifest.environment.nodes}


def _machine(root: etree._Element) -> _Machine:
    system, cpu = root.find("os/type"), root.find("cpu")
    return _Machine(
        type="" if system is None else system.get("machine", ""),
        cpu="" if cpu is None else (cpu.findtext("model") or cpu.get("mode") or ""),
    )


def _note(subject: str, what: str, remedy: str = "") -> Finding:
    return Finding(subject, Verdict.NOTE, what, remedy)
