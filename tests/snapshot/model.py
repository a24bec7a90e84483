"""What each node of the random environment must contain: plain values, no libvirt, no files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hypothesis import strategies as st

State = Literal["running", "paused", "shutoff"]

SECTOR = 4096
"""Writes begin and end at multiples of this: well below a cluster of qcow2."""
SIZES = {"a": {"sda": 2 << 20, "sdb": 1 << 20}, "b": {"sda": 1 << 20, "sdb": 2 << 20}}
"""Bytes of each disk of each node."""


@dataclass(frozen=True)
class Write:
    """:param pattern: the byte; 0 is written as a hole, which must hide what is below it"""

    node: str
    disk: str
    offset: int
    length: int
    pattern: int

    @property
    def command(self) -> str:
        """For ``qemu-io``."""
        how = f"-P {self.pattern}" if self.pattern else "-z"
        return f"write {how} {self.offset} {self.length}"


@dataclass(frozen=True)
class Held:
    """What a snapshot must hold of one node.

    :param state: of the node after a revert to it
    """

    parent: str | None
    state: State
    disks: dict[str, bytes]


@dataclass
class Model:
    """What one node must be.

    :param current: the snapshot that "now" descends from
    """

    disks: dict[str, bytes]
    state: State = "shutoff"
    current: str | None = None
    snapshots: dict[str, Held] = field(default_factory=dict)

    def write(self, write: Write) -> None:
        content = bytearray(self.disks[write.disk])
        content[write.offset : write.offset + write.length] = bytes([write.pattern]) * write.length
        self.disks[write.disk] = bytes(content)

    def snapshot(self, name: str, *, resume: bool, disk_only: bool) -> None:
        if self.state == "running" and not resume:
            self.state = "paused"
        state: State = "paused" if self.state != "shutoff" and not disk_only else "shutoff"
        self.snapshots[name] = Held(self.current, state, dict(self.disks))
        self.current = name

    def revert(self, name: str, *, resume: bool) -> None:
        held = self.snapshots[name]
        self.disks = dict(held.disks)
        self.current = name
        self.state = "running" if held.state == "paused" and resume else held.state

    def delete(self, name: str, *, children: bool) -> None:
        if children:
            for child in [child for child, held in self.snapshots.items() if held.parent == name]:
                self.delete(child, children=True)
        gone = self.snapshots.pop(name)
        for child, held in self.snapshots.items():
            if held.parent == name:
                self.snapshots[child] = Held(gone.parent, held.state, held.disks)
        if self.current == name:
            self.current = gone.parent


@st.composite
def writes_anywhere(draw: st.DrawFn) -> Write:
    node = draw(st.sampled_from(sorted(SIZES)))
    disk = draw(st.sampled_from(sorted(SIZES[node])))
    sectors = SIZES[node][disk] // SECTOR
    offset = draw(st.integers(0, sectors - 1))
    length = draw(st.integers(1, min(50, sectors - offset)))
    return Write(node, disk, offset * SECTOR, length * SECTOR, draw(st.integers(0, 255)))
