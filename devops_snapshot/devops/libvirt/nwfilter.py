"""Network filters: what fuel-devops's ``enable_nwfilters`` lets one block traffic with.

Each network has a filter, and each network card one that includes its network's. They have no rules
until somebody blocks them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import libvirt
from lxml import etree

from devops_snapshot.connection import found
from devops_snapshot.errors import NotFoundError, UnsupportedError

from .elements import E

NETWORK_PRIORITY = -1000
INTERFACE_PRIORITY = -950
"""Of the rules that drop everything, as fuel-devops has them; the lowest comes first."""


class Filtered:
    """A row whose traffic can be blocked, if it has a filter."""

    @property
    def nwfilter(self) -> NwFilter | None:
        """Its filter, there or not; None where the driver is to have none."""
        raise NotImplementedError

    @property
    def is_blocked(self) -> bool:
        """Whether all traffic is dropped."""
        return self.nwfilter is not None and self.nwfilter.is_blocked()

    def block(self) -> None:
        """Drop all traffic from now on.

        :raises NotFoundError: the filter is not there
        :raises UnsupportedError: the driver is to have none
        """
        if self.nwfilter is None:
            raise UnsupportedError(
                f"the traffic of {self} cannot be blocked",
                hint="That takes enable_nwfilters in the driver's settings",
            )
        self.nwfilter.block()

    def unblock(self) -> None:
        """Let all traffic pass again; nothing happens if it does."""
        if self.nwfilter is not None and self.nwfilter.is_blocked():
            self.nwfilter.unblock()


@dataclass(frozen=True)
class NwFilter:
    """A filter of libvirt's, there or not.

    :param includes: the name of another filter
    :param priority: of the rule while it is blocked
    :param asking: turns libvirt's errors into "cannot <what>"
    """

    connection: libvirt.virConnect
    name: str
    priority: int
    asking: Callable[[str], AbstractContextManager[None]]
    includes: str | None = None

    def exists(self) -> bool:
        """Whether libvirt has it."""
        return self._find() is not None

    def define(self) -> None:
        """Define it, without rules."""
        with self.asking(f"define network filter '{self.name}'"):
            self.connection.nwfilterDefineXML(self._xml())

    def remove(self) -> None:
        """Delete it, if libvirt has it; no running domain may use it."""
        there = self._find()
        if there is not None:
            with self.asking(f"remove network filter '{self.name}'"):
                there.undefine()

    def is_blocked(self) -> bool:
        """Whether it is there and has a rule."""
        there = self._find()
        with self.asking(f"look at network filter '{self.name}'"):
            return there is not None and etree.fromstring(there.XMLDesc()).find("rule") is not None

    def block(self) -> None:
        """Drop all traffic from now on; raises NotFoundError."""
        self._redefine(blocked=True)

    def unblock(self) -> None:
        """Let all traffic pass again; raises NotFoundError."""
        self._redefine(blocked=False)

    def _redefine(self, *, blocked: bool) -> None:
        there = self._find()
        if there is None:
            raise NotFoundError(f"network filter '{self.name}' is not there")
        with self.asking(f"change network filter '{self.name}'"):
            xml = self._xml(uuid=there.UUIDString(), blocked=blocked)
            self.connection.nwfilterDefineXML(xml)

    def _find(self) -> Any | None:
        lookup = self.connection.nwfilterLookupByName
        with self.asking(f"look up network filter '{self.name}'"):
            return found(lookup, self.name, libvirt.VIR_ERR_NO_NWFILTER)

    def _xml(self, *, uuid: str | None = None, blocked: bool = False) -> str:
        root = E.filter(name=self.name)
        if uuid is not None:
            root.append(E.uuid(uuid))
        if self.includes is not None:
            root.append(E.filterref(filter=self.includes))
        if blocked:
            drop = {"action": "drop", "direction": "inout", "priority": str(self.priority)}
            root.append(E.rule(E.all(), **drop))
        return etree.tostring(root, encoding="unicode")
