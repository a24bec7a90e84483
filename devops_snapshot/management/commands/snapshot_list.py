"""``dos.py snapshot-list``"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.base import CommandParser
from rich.cells import cell_len

from ... import snapshot
from ...console import DevopsCommand, add_environment_argument, human_size
from ...errors import DevopsError
from ...output import encodable, visible
from ...snapshot.branches import ASCII, BOXES, Line, NowLeaf, lines_of
from ...snapshot.tree import Now, Tree, TreeSnapshot, tree_of
from ..arguments import environment_named, local_time

_HEADER = ("SNAPSHOT", "CREATED", "STATE", "SIZE", "")


class Command(DevopsCommand):
    help = (
        "Show the snapshots of an environment, oldest first.\n\n"
        "SIZE in the tree is what a snapshot holds alone: the allocated bytes of the layer files "
        "that it names and no other snapshot names, and of its memory files unless another one "
        "shares them; of 'now', those of the files that the disks write to. An internal snapshot "
        "has no file of its own."
    )
    group = "Snapshots"
    examples = [
        "dos.py snapshot-list my_env",
        "dos.py snapshot-list my_env --tree",
        "dos.py snapshot-list my_env --json",
    ]

    def add_arguments(self, parser: CommandParser) -> None:
        add_environment_argument(parser)
        parser.add_argument(
            "--tree",
            action="store_true",
            help="what descends from what, how much each holds alone, and where 'now' is",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="for programs: a list of snapshots; with --tree an object with 'snapshots', "
            "'now' of each node, and the layers 'waiting' to be merged",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        environment = environment_named(options["name"])
        if options["json"] and options["tree"]:
            self.json(_tree_document(tree_of(environment), snapshot.waiting(environment)))
            return
        if options["json"]:
            self.json(_documents(tree_of(environment)))
        elif options["tree"]:
            self._draw(tree_of(environment))
        else:
            self._list(environment)
        self._tell_what_waits(environment)

    def _list(self, environment: Any) -> None:
        rows = [
            (item.name, local_time(item.created), ", ".join(item.nodes))
            for item in snapshot.list_snapshots(environment)
        ]
        self.table(("SNAPSHOT", "CREATED", "NODES-NAMES"), rows)
        if not rows:
            self.stderr.write(f"There are no snapshots of {environment.name}")

    def _draw(self, tree: Tree) -> None:
        encoding = self.stdout.encoding
        branches = BOXES if BOXES.tee == encodable(BOXES.tee, encoding) else ASCII
        rows = [_row(line, node_count=len(tree.now)) for line in lines_of(tree, branches)]
        shown = [
            tuple(encodable(visible(cell), encoding) for cell in row) for row in (_HEADER, *rows)
        ]
        for text in _columns(shown):
            self.stdout.write(text)

    def _tell_what_waits(self, environment: Any) -> None:
        """On standard error: jobs parse the table. If it cannot be told, the list is still good."""
        try:
            waits = snapshot.waiting(environment)
        except DevopsError as error:
            self.stderr.write(f"What waits to be merged cannot be told: {error}")
            return
        if waits:
            layers = f"{len(waits)} layer{'s' if len(waits) > 1 else ''}"
            verb = "wait" if len(waits) > 1 else "waits"
            size = human_size(sum(item.size for item in waits))
            told = "; ".join(f"{item.node} {item.layer}: {item.reason}" for item in waits)
            self.stderr.write(f"{layers} ({size}) {verb} to be merged: {told}")


def _row(line: Line, *, node_count: int) -> tuple[str, ...]:
    entry = line.entry
    if isinstance(entry, NowLeaf):
        nodes = f" ({', '.join(entry.nodes)})" if entry.nodes else ""
        return f"{line.prefix}now{nodes}", "", "", human_size(entry.disk_bytes), ""
    return (
        line.prefix + entry.name,
        local_time(entry.created),
        _state(entry),
        _size(entry),
        ", ".join(_remarks(entry, node_count)),
    )


def _state(item: TreeSnapshot) -> str:
    """What the nodes did: ``running``, ``running+shutoff``, ``paused, internal``."""
    state = "+".join(sorted(set(item.states.values())))
    return f"{state}, internal" if item.internal else state


def _size(item: TreeSnapshot) -> str:
    if item.internal == item.nodes:
        return "-"
    return human_size(item.disk_bytes + item.memory_bytes)


def _remarks(item: TreeSnapshot, node_count: int) -> Iterator[str]:
    if 0 < len(item.nodes) < node_count:
        yield f"only {', '.join(item.nodes)}"
    if not item.complete:
        yield "unfinished"
    elif item.missing == item.nodes:
        yield "missing in libvirt"
    elif item.missing:
        yield f"missing in libvirt on {', '.join(item.missing)}"


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Aligned by what a terminal makes of the characters; sizes stand at the right."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for name, created, state, size, remarks in rows:
        cells = [
            *map(_padded, (name, created, state), widths),
            " " * (widths[3] - len(size)) + size,
            remarks,
        ]
        yield "  ".join(cells).rstrip()


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - cell_len(cell))


def _documents(tree: Tree) -> list[dict[str, Any]]:
    return [
        {
            "name": item.name,
            "created": item.created.isoformat(),
            "description": item.description,
            "nodes": list(item.nodes),
            "parent": item.parent,
            "states": item.states,
            "internal": list(item.internal),
            "missing": list(item.missing),
            "complete": item.complete,
            "disk_bytes": item.disk_bytes,
            "memory_bytes": item.memory_bytes,
            "freeze_seconds": item.freeze_seconds,
            "now": list(item.now),
        }
        for item in tree.snapshots
    ]


def _tree_document(tree: Tree, waits: Sequence[snapshot.Waiting]) -> dict[str, Any]:
    return {
        "snapshots": _documents(tree),
        "now": [_now_document(where) for where in tree.now],
        "waiting": [dataclasses.asdict(item) for item in waits],
    }


def _now_document(where: Now) -> dict[str, Any]:
    return {"node": where.node, "snapshot": where.snapshot, "disk_bytes": where.disk_bytes}
