"""Into which file the memory of a guest was last saved.

QEMU saves a guest once, and again only after it has run: a guest that stands still since then is
in the file already. That it has not run QEMU says ("postmigrate"), but not into which file it was
saved; so there is a note on the domain, with the figures of that save (``query-migrate``), by which
it is known from any other. While memory is being saved the note says "none", and so it does for
whoever is killed meanwhile.

Where another save was the last one, somebody else has done it: fuel-devops leaves guests suspended
after a snapshot, whose memory is that of the current snapshot as long as the disks are where that
one has put them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import libvirt_qemu

from ..hypervisor import asking, is_postmigrate
from . import notes
from .metadata import current_snapshot, snapshot_named

_NOTE = "saved"
_WHICHEVER = "any"


def about_to_save(domain: Any) -> None:
    """Whatever the last save will be: it is in no file that could be relied on."""
    notes.write(domain, _NOTE, save=_WHICHEVER, file="")


def was_saved(domain: Any, path: str) -> None:
    """The save that has just ended went into that file."""
    notes.write(domain, _NOTE, save=_figures(domain), file=path)


def saved_into(domain: Any, stands_on: Mapping[str, str | None]) -> str | None:
    """The file that the guest, which is paused, can be brought back from as it is now.

    :param stands_on: its disks: target to file
    """
    if not is_postmigrate(domain):
        return None
    note = notes.read(domain, _NOTE)
    if note is not None and note.get("save") in (_WHICHEVER, _figures(domain)):
        return note.get("file") or None
    return _saved_by_others(domain, stands_on)


def forget_save_by_others(domain: Any) -> None:
    """The current snapshot is about to change: from then on nothing can be told from it."""
    if domain.isActive() and is_postmigrate(domain):
        note = notes.read(domain, _NOTE)
        if note is None or note.get("save") not in (_WHICHEVER, _figures(domain)):
            notes.write(domain, _NOTE, save=_figures(domain), file="")


def _figures(domain: Any) -> str:
    """What is different of every save: times, and bytes of memory."""
    with asking(f"asking QEMU for the last save of {domain.name()}"):
        answer = libvirt_qemu.qemuMonitorCommand(domain, '{"execute":"query-migrate"}', 0)
    figures = json.dumps(json.loads(answer).get("return"), sort_keys=True)
    return hashlib.sha256(figures.encode()).hexdigest()


def _saved_by_others(domain: Any, stands_on: Mapping[str, str | None]) -> str | None:
    name = current_snapshot(domain)
    if name is None:
        return None
    current = snapshot_named(domain, name)
    on_its_overlays = all(stands_on.get(disk) == path for disk, path in current.overlays.items())
    return current.memory_path if current.overlays and on_its_overlays else None
