"""A tree of snapshots as lines, each with its branch in front."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .tree import Now, Tree, TreeSnapshot


@dataclass(frozen=True)
class Branches:
    """What stands in front of a name: where siblings follow, of the last, and below both."""

    tee: str
    elbow: str
    pipe: str
    blank: str = "   "


BOXES = Branches(tee="├─ ", elbow="└─ ", pipe="│  ")
ASCII = Branches(tee="|- ", elbow="`- ", pipe="|  ")


@dataclass(frozen=True)
class NowLeaf:
    """Where the nodes are that descend from one snapshot.

    :param nodes: empty if all nodes of the environment are there
    """

    nodes: tuple[str, ...]
    disk_bytes: int


Entry = TreeSnapshot | NowLeaf


@dataclass(frozen=True)
class Line:
    """:param below: the prefix of all that descends from it, without its own branch"""

    prefix: str
    entry: Entry
    below: str = ""


def lines_of(tree: Tree, branches: Branches) -> Iterator[Line]:
    """Every snapshot once, after what it descends from; "now" as the last child."""
    children = _children(tree)
    # Nodes may disagree so much about their parents that there is no root: any will do then.
    waiting = [Line("", entry) for entry in [*children[None], *tree.snapshots]][::-1]
    drawn: set[int] = set()
    while waiting:
        line = waiting.pop()
        if id(line.entry) in drawn:
            continue
        drawn.add(id(line.entry))
        yield line
        if isinstance(line.entry, TreeSnapshot):
            offspring = [e for e in children[line.entry.name] if id(e) not in drawn]
            waiting += reversed(list(_beneath(line, offspring, branches)))


def _children(tree: Tree) -> dict[str | None, list[Entry]]:
    children: dict[str | None, list[Entry]] = defaultdict(list)
    for snapshot in tree.snapshots:
        children[snapshot.parent].append(snapshot)
    for name in dict.fromkeys(where.snapshot for where in tree.now):
        there = [where for where in tree.now if where.snapshot == name]
        children[name].append(_leaf(there, of_all=len(there) == len(tree.now)))
    return children


def _leaf(there: Sequence[Now], *, of_all: bool) -> NowLeaf:
    nodes = () if of_all else tuple(where.node for where in there)
    return NowLeaf(nodes, sum(where.disk_bytes for where in there))


def _beneath(line: Line, offspring: Sequence[Entry], branches: Branches) -> Iterator[Line]:
    for entry in offspring:
        last = entry is offspring[-1]
        yield Line(
            prefix=line.below + (branches.elbow if last else branches.tee),
            entry=entry,
            below=line.below + (branches.blank if last else branches.pipe),
        )
