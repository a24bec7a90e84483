"""Running guests with full memory, as an environment in a database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devops_snapshot.devops.models import Environment
from tests.bed import Guest, Host
from tests.devops.databases import sqlite_environment, used_database
from tests.devops.libvirt.builder import Builder

FILL = """
mkdir /fill
mount -t tmpfs -o size={size}M tmpfs /fill
dd if=/dev/urandom of=/fill/data bs=1M count={size} 2>&1
"""
BOOT = 300.0  # seconds
FILLING = 600.0  # seconds


@dataclass(frozen=True)
class Running:
    """:param guests: by the name of their domain"""

    host: Host
    environment: Environment
    guests: dict[str, Guest]


@contextmanager
def running(host: Host, iso: Path, *, nodes: int, memory: int) -> Iterator[Running]:
    """An environment of so many guests; 3/8 of their memory (MiB) is full of random data.

    Afterwards nothing is left on the host.
    """
    database = sqlite_environment(host.directory / "benchmark.sqlite3")
    try:
        with used_database(database):
            environment = _define(host, iso, nodes=nodes, memory=memory)
            names = [f"{environment.name}_{node.name}" for node in environment.get_nodes()]
            guests = {name: host.guest(name) for name in names}
            for node in environment.get_nodes():
                node.start()
            for guest in guests.values():
                guest.wait_boot(timeout=BOOT)
            _fill(list(guests.values()), memory * 3 // 8)
            yield Running(host, environment, guests)
    finally:
        host.clean()


def _define(host: Host, iso: Path, *, nodes: int, memory: int) -> Environment:
    builder = Builder(host)
    for number in range(1, nodes + 1):
        builder.bootable_node(f"node-{number}", iso, memory=memory)
    for node in builder.environment.get_nodes():
        for volume in node.get_volumes():
            volume.define()
        node.define()
    return builder.environment


def _fill(guests: list[Guest], size: int) -> None:
    with ThreadPoolExecutor(max_workers=len(guests)) as everyone:
        script = FILL.format(size=size)
        list(everyone.map(lambda guest: guest.run(script, timeout=FILLING), guests))
