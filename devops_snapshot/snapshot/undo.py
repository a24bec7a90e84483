"""Undoing what was done before something failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt
from django.db import DatabaseError

from ..errors import DevopsError

LOG = logging.getLogger(__name__)


class Undo:
    """Steps that undo others."""

    def __init__(self) -> None:
        self._steps: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def later(self, action: Callable[..., object], *arguments: Any) -> None:
        """If it comes to that, do this before what was registered earlier."""
        self._steps.append((action, arguments))

    def run(self) -> None:
        """Do it all, last first; what fails is warned of and does not stop the rest."""
        while self._steps:
            action, arguments = self._steps.pop()
            try:
                action(*arguments)
            except (DevopsError, libvirt.libvirtError, DatabaseError, OSError) as error:
                LOG.warning("Something could not be undone: %s", error)


@contextmanager
def undoing() -> Iterator[Undo]:
    """If the block fails, for whatever reason, undo what was registered; the error goes on."""
    undo = Undo()
    try:
        yield undo
    except BaseException:
        undo.run()
        raise
