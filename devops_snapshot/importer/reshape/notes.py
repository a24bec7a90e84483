"""What a user has to know of an environment that is not what was exported."""

from __future__ import annotations

from collections.abc import Iterator

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
    changed = dict(zip(_machines(before), _machines(after), strict=True))
    for old, new in changed.items():
        if old != new:
            yield _note("machine type", f"{old} becomes the newest {new!r} of this host")
    if _cpus(before) != _cpus(after):
        yield _note("CPU", "guests get a CPU that this host can be")


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


def _machines(manifest: Manifest) -> list[str]:
    """Of each node, as it is to be defined."""
    definitions = [parse(node.domain_xml).find("os/type") for node in manifest.environment.nodes]
    return ["" if system is None else system.get("machine", "") for system in definitions]


def _cpus(manifest: Manifest) -> list[tuple[str, str]]:
    found = [parse(node.domain_xml).find("cpu") for node in manifest.environment.nodes]
    return [
        ("", "") if cpu is None else (cpu.get("mode", ""), cpu.findtext("model") or "")
        for cpu in found
    ]


def _note(subject: str, what: str, remedy: str = "") -> Finding:
    return Finding(subject, Verdict.NOTE, what, remedy)
