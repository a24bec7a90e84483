"""lxml's element factory, typed: ``E.name("x")`` is ``<name>x</name>``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lxml import etree
from lxml.builder import E as UNTYPED  # type: ignore[import-not-found]  # not in lxml-stubs


class Factory(Protocol):
    """An attribute for every tag; children and text are positional, attributes by keyword."""

    def __getattr__(self, tag: str) -> Callable[..., etree._Element]: ...


E: Factory = UNTYPED
