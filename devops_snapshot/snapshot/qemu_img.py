"""Merging layers that no QEMU has open, by ``qemu-img``.

``qemu-img`` takes QEMU's locks: a file that somebody writes to, or holds against writing, it leaves
alone. A command that is ended half way leaves every image that stands on others readable as before.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from ..errors import HypervisorError
from ..interrupts import Heed
from ..lock import held_descriptors
from ..qcow2 import read_header

COPY_SUFFIX = ".unshared"
"""Of a copy that is not complete yet."""

_POLL = 0.02  # seconds
_DIE_WITH_US = ["setpriv", "--pdeathsig", "KILL", "--"]
"""What goes on after a command was killed would work on the files of the next one. Until it has
asked to die as well, it holds the environment's lock with us."""
_COPY = ["cp", "--reflink=auto", "--sparse=always", "--preserve=mode,ownership,xattr"]


def commit(upper: str, lower: str, lower_format: str, heed: Heed) -> None:
    """Write a layer into the one below it; it stays as it is itself.

    :raises HypervisorError: what qemu-img said
    """
    _name_backing_format(upper, lower, lower_format, heed)
    _run(["qemu-img", "commit", "-q", "-d", "-f", "qcow2", "-b", lower, upper], heed)


def rebase(image: str, base: str | None, base_format: str | None, heed: Heed) -> None:
    """Copy into an image what lies between it and ``base``, and let it stand on that.

    :raises HypervisorError: what qemu-img said
    """
    _run(["qemu-img", "rebase", "-q", "-f", "qcow2", *_backing(base, base_format), image], heed)


def point_at(image: str, base: str | None, base_format: str | None, heed: Heed) -> None:
    """Let an image stand on another file of the same content.

    :raises HypervisorError: what qemu-img said
    """
    command = ["qemu-img", "rebase", "-q", "-u", "-f", "qcow2"]
    _run([*command, *_backing(base, base_format), image], heed)
    sync(image)


def unshare(path: str, heed: Heed) -> None:
    """Give a file that has a second name (a hard link) a content of its own.

    :raises HypervisorError: no room, no permission
    """
    temporary = f"{path}{COPY_SUFFIX}"
    try:
        _run([*_COPY, path, temporary], heed)
        sync(temporary)
        Path(temporary).replace(path)
    except OSError as error:
        raise HypervisorError(f"{path} cannot be copied: {error.strerror}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def sync(path: str) -> None:
    """Bring a file onto the disk, before anything is removed whose content it took over.

    :raises HypervisorError: it cannot be written
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise HypervisorError(f"{path} cannot be synced: {error.strerror}") from error


def _name_backing_format(upper: str, lower: str, lower_format: str, heed: Heed) -> None:
    """Where the header does not say what is below, QEMU would guess from what a guest wrote."""
    try:
        named = read_header(Path(upper)).backing_format
    except OSError as error:
        raise HypervisorError(f"{upper} cannot be read: {error.strerror}") from error
    if named is None:
        point_at(upper, lower, lower_format, heed)


def _backing(base: str | None, base_format: str | None) -> list[str]:
    return ["-b", ""] if base is None else ["-b", base, "-F", base_format or "qcow2"]


def _run(command: list[str], heed: Heed) -> None:
    """:raises HypervisorError: its last line"""
    try:
        # A session of its own: Ctrl-C is for us to heed, and to end it then.
        process = subprocess.Popen(
            [*_DIE_WITH_US, *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=held_descriptors(),
        )
    except OSError as error:
        raise HypervisorError(f"{command[0]} cannot be run: {error.strerror}") from error
    with process:
        try:
            while process.poll() is None:
                heed()
                time.sleep(_POLL)
        except BaseException:
            process.terminate()
            raise
        if process.returncode:
            said = (process.stderr.read() if process.stderr else b"").decode(errors="replace")
            lines = said.strip().splitlines() or [f"ended with {process.returncode}"]
            raise HypervisorError(f"{' '.join(command[:2])}: {lines[-1]}")
