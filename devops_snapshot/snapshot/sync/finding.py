"""One difference between the database and libvirt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Repair = Callable[[], object]


@dataclass(frozen=True)
class Finding:
    """One line.

    :param node: name; empty where all nodes are meant
    :param kind: for programs, such as ``domain-gone``
    :param what: what differs, with which value
    :param remedy: what ``repair`` does, or what the user has to do
    :param repair: does it; None where only the user can
    :param differs: false for what is told only for information
    """

    environment: str
    node: str
    kind: str
    what: str
    remedy: str
    repair: Repair | None = field(default=None, compare=False, repr=False)
    differs: bool = True

    @property
    def place(self) -> str:
        return f"{self.environment} {self.node}".rstrip()

    def __str__(self) -> str:
        line = f"{self.place}: {self.what}"
        return f"{line}; {self.remedy}" if self.remedy else line
