"""Small qcow2 images with any backing file name in their header."""

from __future__ import annotations

import subprocess
from pathlib import Path


def qcow2(
    path: Path, backing: Path | None = None, *, name: str | None = None, below: str = "qcow2"
) -> Path:
    """:param name: the backing file as the header has it; nothing of that name need be there"""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "1M"], check=True)
    name = name or (str(backing) if backing else None)
    if name is not None:
        command = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-b", name, "-F", below, str(path)]
        subprocess.run(command, check=True, capture_output=True)
    return path
