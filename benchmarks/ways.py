"""The two ways to take a snapshot of all guests, each with its undoing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devops_snapshot import snapshot as snapshots

from .guests import Running

NAME = "measured"
CREATE = """
virsh -q snapshot-create-as {domain} {name} \\
    --memspec file={pool}/{domain}.{name}.memory,snapshot=external \\
    --diskspec sda,file={pool}/{domain}.{name},snapshot=external
"""
DELETE = """
virsh -q blockcommit {domain} sda --active --shallow --pivot --wait
virsh -q snapshot-delete {domain} {name} --metadata
rm {pool}/{domain}.{name} {pool}/{domain}.{name}.memory
"""


@dataclass(frozen=True)
class Way:
    """:param take: gives the longest standstill in seconds that it reports itself, if it does"""

    take: Callable[[Running], float | None]
    undo: Callable[[Running], None]


def _take_environment(guests: Running) -> float | None:
    return snapshots.create(guests.environment, NAME).longest_freeze


def _delete_environment(guests: Running) -> None:
    snapshots.delete(guests.environment, NAME)


def _take_with_virsh(guests: Running) -> None:
    _shell(guests, CREATE)


def _delete_with_virsh(guests: Running) -> None:
    _shell(guests, DELETE)


def _shell(guests: Running, script: str) -> None:
    """Run it for one guest after the other."""
    pool = guests.host.pool_dir
    lines = [script.format(domain=name, name=NAME, pool=pool) for name in guests.guests]
    guests.host.run(["sh", "-ec", "".join(lines)])


OURS, VIRSH = "environment", "virsh"
WAYS: Mapping[str, Way] = {
    OURS: Way(_take_environment, _delete_environment),
    VIRSH: Way(_take_with_virsh, _delete_with_virsh),
}
