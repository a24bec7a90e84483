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
    """Steps that undo others.

    :param has_failed: one of them could not be done
    """

    def __init__(self, level: int = logging.WARNING) -> None:
        self._level = level
        self._steps: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.has_failed = False

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
                self.has_failed = True
                LOG.log(self._level, "Something could not be undone: %s", error)


@contextmanager
def undoing(level: int = logging.WARNING) -> Iterator[Undo]:
    """If the block fails, for whatever reason, undo what was registered; the error goes on.

    :param level: at which it is told that something could not be undone
    """
    undo = Undo(level)
    try:
        yield undo
    except BaseException:
        undo.run()
        raise
