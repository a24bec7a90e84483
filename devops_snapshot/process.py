"""Processes of this host and user, told apart from all others that use the same database."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

from .lock import directory as lock_directory

_MACHINE_ID = Path("/etc/machine-id")
_STARTED = 19  # place of the field, after the name of the program; see proc(5)


def place() -> str:
    """This host and user, as far as they share locks; 64 characters."""
    try:
        machine = _MACHINE_ID.read_text().strip()
    except OSError:
        machine = ""
    identity = f"{machine or platform.node()}\n{lock_directory()}"
    return hashlib.sha256(identity.encode()).hexdigest()


def this_process() -> str:
    """A name that no other process has, not even later; at most 96 characters."""
    return _name(os.getpid())


def is_of_here(process: str) -> bool:
    """Whether this host and user had a process that :func:`this_process` named."""
    return process.partition(" ")[0] == place()


def has_ended(process: str) -> bool:
    """Whether a process that :func:`this_process` named is gone; False if it is not of here."""
    if not is_of_here(process):
        return False
    pid = process.partition(" ")[2].partition(" ")[0]
    return not pid.isdecimal() or _name(int(pid)) != process


def _name(pid: int) -> str:
    return f"{place()} {pid} {_start(pid)}"


def _start(pid: int) -> str:
    """Clock ticks between the start of the system and that of a process; empty if there is none."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[_STARTED]
