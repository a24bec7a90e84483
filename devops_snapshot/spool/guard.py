"""A process that keeps QEMU and ``qemu-img`` from writing to the files of a job.

It has the files open with the lock of :mod:`~..write_guard`, and ends when the job is gone from the
spool. The locks belong to open files, so it inherits them from whoever made the job: there is no
moment without. The worker holds the same locks while it runs.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

_LOOK_SECONDS = 1.0


def leave_guard(job: Path, descriptors: Iterable[int]) -> None:
    """Start the process; it outlives this one.

    It gets no environment variables: a Jenkins that ends what its builds have left behind knows
    such processes by those.

    :param job: the directory that the job will have
    :param descriptors: files with locks
    """
    held = tuple(descriptors)
    if not held:
        return
    command = [sys.executable, "-I", str(Path(__file__)), str(job), str(os.getpid())]
    subprocess.Popen(
        command,
        pass_fds=held,
        env={},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def allow_many_files() -> None:
    """Let this process have as many files open as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _guard(job: Path, maker: int) -> None:
    """Stay until the job is gone; before it is there, until its maker is."""
    while not job.exists() and os.getppid() == maker:
        time.sleep(_LOOK_SECONDS / 10)
    while job.exists():
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    _guard(Path(sys.argv[1]), int(sys.argv[2]))
