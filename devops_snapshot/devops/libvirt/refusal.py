"""Problems told together, before anything is made."""

from __future__ import annotations

from collections.abc import Iterable

from devops_snapshot.errors import ConflictError, DevopsError

from .driver import LibvirtDriver

TOLD_AT_ONCE = 5


def refuse(problems: Iterable[DevopsError]) -> None:
    """Raise nothing, the one problem, or an error of the first one's class that names them all."""
    found = {problem.message: problem for problem in problems}
    if not found:
        return
    first, *others = found.values()
    messages = list(found)[:TOLD_AT_ONCE]
    if len(others) >= TOLD_AT_ONCE:
        messages.append(f"and {len(found) - TOLD_AT_ONCE} more")
    raise type(first)("; ".join(messages), hint="" if others else first.hint)


def taken(kind: str, name: str, driver: LibvirtDriver) -> ConflictError:
    """The problem that libvirt has something of that name."""
    return ConflictError(
        f"{kind} '{name}' is already there on {driver.connection_string}",
        hint="Erase the environment that it belongs to, or choose another name",
    )
