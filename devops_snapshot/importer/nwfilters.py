"""Network filters of an export, built anew; cards include them by name."""

from __future__ import annotations

from typing import Any

import libvirt

from ..connection import found
from ..hypervisor import asking
from ..manifest.nwfilters import build_nwfilter, nwfilters_of
from ..snapshot.undo import Undo
from .plan import Plan


def define_nwfilters(plan: Plan, undo: Undo) -> None:
    """Define them, open or blocked as they were."""
    for nwfilter in nwfilters_of(plan.manifest):
        with asking(f"defining network filter {nwfilter.name}"):
            plan.target.conn.nwfilterDefineXML(build_nwfilter(nwfilter))
            undo.later(remove_nwfilter, plan.target.conn, nwfilter.name)


def remove_nwfilter(connection: Any, name: str) -> None:
    """Remove one; nothing happens if it is not there."""
    with asking(f"removing network filter {name}"):
        there = found(connection.nwfilterLookupByName, name, libvirt.VIR_ERR_NO_NWFILTER)
        if there is not None:
            there.undefine()
