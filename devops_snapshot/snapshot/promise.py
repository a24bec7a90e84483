"""What a command owes a guest: to let it go on, to let it stand still again, to thaw it.

It is noted before it is owed, so that the next command can do it for one that was killed.
"""

from __future__ import annotations

from typing import Any

from ..hypervisor import RunState, asking, run_state
from . import notes

_NOTE = "owed"

RESUME, SUSPEND, THAW = "resume", "suspend", "thaw"


def promise(domain: Any, deed: str) -> None:
    """Note that a deed is owed; ``domain`` is on."""
    notes.write(domain, _NOTE, **{**_owed(domain), deed: "yes"})


def kept(domain: Any, deed: str) -> None:
    """It was done, or is not owed any more."""
    owed = _owed(domain)
    if owed.pop(deed, None) is not None:
        if owed:
            notes.write(domain, _NOTE, **owed)
        else:
            notes.remove(domain, _NOTE)


def is_owed(domain: Any, deed: str) -> bool:
    return deed in _owed(domain)


def keep_for_others(domain: Any) -> None:
    """Let a guest go on or stand still as a command that was killed would have done."""
    state = run_state(domain)
    with asking(f"letting {domain.name()} do what it did"):
        if is_owed(domain, RESUME) and state is RunState.PAUSED:
            domain.resume()
        elif is_owed(domain, SUSPEND) and state is RunState.RUNNING:
            domain.suspend()
    kept(domain, RESUME)
    kept(domain, SUSPEND)


def _owed(domain: Any) -> dict[str, str]:
    return notes.read(domain, _NOTE) or {}
