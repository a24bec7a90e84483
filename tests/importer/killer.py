"""What an import changes that snapshots do not, for :mod:`tests.snapshot.killer`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import libvirt

from devops_snapshot.importer.layer_cache.part import PartFile
from tests.snapshot import killer

SERVER = """
import tests.devops.databases  # sets up Django
import devops_snapshot.management.commands.import_env
from tests.importer.killer import serve
serve()
"""


def serve() -> None:
    """As :func:`tests.snapshot.killer.serve`."""
    more: dict[object, tuple[str, ...]] = {
        libvirt.virConnect: ("networkDefineXML",),
        libvirt.virNetwork: ("create", "setAutostart", "destroy", "undefine"),
        libvirt.virDomain: ("undefineFlags",),
        PartFile: ("pwrite",),
        Path: ("mkdir",),
        os: ("link", "utime"),
        shutil: ("rmtree",),
    }
    for owner, names in more.items():
        killer.CHANGES[owner] = (*killer.CHANGES.get(owner, ()), *names)
    killer.serve()
