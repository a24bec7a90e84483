"""What on this host belongs to the env-shells of one environment, by name.

All env-shells of an environment share one namespace. Whatever is made for it bears an id of the
environment, so that it is found again after a command was killed. Environments are told apart by
their names: libvirt has each network's name, which begins so, only once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN = Path("/run/devops_snapshot/env-shell")
"""Gone with the next start of the machine, as all the rest is."""

_DIGITS = 8


@dataclass(frozen=True)
class Place:
    """:param id: of an environment, as in the names of devices, which take 15 characters"""

    id: str

    @classmethod
    def of(cls, environment: str) -> Place:
        """That of the environment of that name."""
        return cls(hashlib.sha256(environment.encode()).hexdigest()[:_DIGITS])

    @property
    def namespace(self) -> str:
        """The network namespace, as ``ip netns`` knows it."""
        return f"devops-{self.id}"

    @property
    def directory(self) -> Path:
        """Made before anything else and removed last, so it tells whether anything may be there."""
        return RUN / self.id

    @property
    def uplink(self) -> str:
        """The bridge of the network of libvirt's that leads out."""
        return f"ds{self.id}-nat"

    def port(self, number: int | str) -> str:
        """The host's end of a cable into the namespace."""
        return f"ds{self.id}-{number}"


def places() -> Iterator[Place]:
    """All that have something on this host."""
    for directory in sorted(RUN.glob("[0-9a-f]" * _DIGITS)):
        if directory.is_dir():
            yield Place(directory.name)
