"""How a long operation tells how far it is, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by exporters and importers; :class:`Quiet` or a bar on a terminal listens."""

    def begin(self, what: str, total: int) -> None:
        """A stage of ``total`` bytes begins; the one before has ended."""

    def advance(self, count: int) -> None:
        """``count`` more bytes of the stage are dealt with."""


class Quiet:
    """Listens to nothing."""

    def begin(self, what: str, total: int) -> None:
        pass

    def advance(self, count: int) -> None:
        pass
