"""Runs as a process of its own: starts daemons on request and takes them down with itself.

``keeper.py SCRIPT`` runs a shell script first, which sets up the namespaces it is in. Then standard
input carries one JSON request a line, ``{"argv": [...], "env": {...}, "log": path}``; the answer is
the daemon's process id. At the end of input, that is, when the owner closes the pipe or dies in
whatever way, everything that was started here is killed, also what forked itself into the
background. As the first process of a PID namespace it need only exit: the kernel does the rest.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def main(script: str) -> None:
    subprocess.run(["sh", "-ec", script], check=True)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that the kernel reaps for us
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    print("ready", flush=True)
    for line in sys.stdin:
        print(start(**json.loads(line)), flush=True)
    if os.getpid() != 1:
        kill_descendants()


def start(*, argv: list[str], env: dict[str, str], log: str) -> int:
    return os.posix_spawnp(
        argv[0],
        argv,
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGCHLD],
    )


def kill_descendants() -> None:
    """Kill them, and those they leave to us when they die, until none is left."""
    while pids := set(descendants(os.getpid())):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def descendants(ancestor: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    pending = [ancestor]
    while pending:
        found = children.get(pending.pop(), [])
        yield from found
        pending += found


if __name__ == "__main__":
    main(*sys.argv[1:])
