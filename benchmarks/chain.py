"""The chains of layers that :mod:`benchmarks.delete` merges, as new each time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devops_snapshot import snapshot as snapshots
from devops_snapshot.devops.libvirt.models import LibvirtNode
from devops_snapshot.devops.models import Environment
from devops_snapshot.qcow2 import read_header
from tests.bed import Host
from tests.devops.databases import sqlite_environment, used_database
from tests.devops.libvirt.builder import Builder
from tests.snapshot.lab import disks

MIB = 1 << 20
DOMAIN = "env_a"
NAMES = ("first", "second", "third")
LAYERS = len(NAMES) + 1
ROOT, TOP = 128, 32  # MiB in the volume of the template and in a layer that is not merged
PIECE = 64  # MiB that are written at once


@dataclass(frozen=True)
class Case:
    """:param on: the guest runs
    :param deleted: a snapshot in the middle of the chain, or the one that "now" descends from
    :param lower: MiB in the layer that it alone names
    :param upper: MiB in the layer on that
    """

    on: bool
    deleted: str
    lower: int
    upper: int

    @property
    def name(self) -> str:
        return "second" if self.deleted == "middle" else "third"

    @property
    def sizes(self) -> tuple[int, ...]:
        """MiB in each layer, from the bottom up."""
        if self.deleted == "middle":
            return ROOT, self.lower, self.upper, TOP
        return ROOT, TOP, self.lower, self.upper


@dataclass(frozen=True)
class Chain:
    """Of one disk, with what it belongs to.

    :param layers: its files, from the bottom up
    """

    case: Case
    host: Host
    environment: Environment
    layers: tuple[str, ...]

    @property
    def place(self) -> int:
        """Of the lower layer among them."""
        return NAMES.index(self.case.name)

    @property
    def below(self) -> str:
        return self.layers[self.place - 1]

    @property
    def lower(self) -> str:
        return self.layers[self.place]

    @property
    def upper(self) -> str:
        return self.layers[self.place + 1]

    @property
    def above(self) -> Sequence[str]:
        return self.layers[self.place + 2 :]

    def size(self) -> int:
        """Bytes on disk of all layers."""
        paths = map(Path, self.layers)
        return sum(path.stat().st_blocks * 512 for path in paths if path.exists())

    def virsh(self, *arguments: str) -> None:
        run("virsh", "-q", "-c", self.host.uri, *arguments)


def random_data(directory: Path) -> list[Path]:
    """For each layer a file of its own: what is below as well would be left out by rebase."""
    files = [directory / str(number) for number in range(LAYERS)]
    for path in files:
        path.write_bytes(os.urandom(PIECE * MIB))
    return files


@contextmanager
def new_chain(host: Host, data: Sequence[Path], case: Case) -> Iterator[Chain]:
    """A node without a system, its disk, and three snapshots that were taken while it was off."""
    try:
        with used_database(sqlite_environment(host.directory / "benchmark.sqlite3")):
            builder = Builder(host)
            node = builder.node("a", memory=16, volumes=[{"name": "system", "capacity": 4}])
            for volume in node.get_volumes():
                volume.define()
            node.define()
            top = _grow(builder.environment, node, data, case.sizes)
            if case.on:
                node.start()
            os.sync()  # what was written before shall not be in the way
            yield Chain(case, host, builder.environment, tuple(reversed(images_of(top))))
    finally:
        host.clean()


def _grow(
    environment: Environment, node: LibvirtNode, data: Sequence[Path], sizes: Sequence[int]
) -> str:
    """Write so many MiB into each layer; returns the path of the topmost."""
    offset = 0
    for number, size in enumerate(sizes):
        if number:
            snapshots.create(environment, NAMES[number - 1])
            offset -= min(size, sizes[number - 1]) // 2
        _fill(disks(node.domain)["sda"], data[number], offset, size)
        offset += size
    return disks(node.domain)["sda"]


def _fill(path: str, data: Path, offset: int, size: int) -> None:
    """Sizes in MiB."""
    commands = []
    for start in range(0, size, PIECE):
        length = min(PIECE, size - start)
        commands += ["-c", f"write -q -s {data} {offset + start}M {length}M"]
    run("qemu-io", "-f", "qcow2", *commands, path)


def images_of(path: str) -> list[str]:
    """The image and what is below it."""
    below = read_header(Path(path)).backing_file
    return [path, *(images_of(below) if below else [])]


def run(*command: str) -> None:
    """Without what it says."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
