"""Python processes on a host that start at once: they are forked from one with all libraries."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

from .compartment import Compartment

FORKER = Path(__file__).with_name("forker.py")
START_TIMEOUT = 30.0  # seconds
#: Python learns when it starts what kind of files its streams are: pipes, as in what it forks.
BEHIND_PIPES = ': | "$0" "$@" 2>&1 | cat'


class Interpreter:
    """:param path: of the socket, seen inside the compartment and outside of it"""

    def __init__(
        self,
        compartment: Compartment,
        *,
        python: str,
        path: Path,
        env: Mapping[str, str],
        log: Path,
    ) -> None:
        self._path = path
        command = ["sh", "-c", BEHIND_PIPES, python, str(FORKER), str(path)]
        compartment.daemon(command, env=env, log=log)
        deadline = time.monotonic() + START_TIMEOUT
        while not path.exists():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{FORKER} did not start: {log.read_text()}")
            time.sleep(0.02)

    def run(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        input: str | None,
        timeout: float | None,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python ARGUMENTS``; these begin with ``-m`` or ``-c``.

        :param input: no more than a pipe holds, 64 KiB
        :raises subprocess.TimeoutExpired: after ``timeout`` seconds; the process is killed
        """
        request = {"arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}
        with ExitStack() as stack:
            connection = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            connection.connect(str(self._path))
            stdin, stdout, stderr = (_Pipe(stack) for _ in range(3))
            stdin.into.write((input or "").encode())
            stdin.into.close()
            theirs = [stdin.out, stdout.into, stderr.into]
            socket.send_fds(
                connection, [json.dumps(request).encode()], [f.fileno() for f in theirs]
            )
            for file in theirs:
                file.close()
            try:
                said = _read([stdout.out, stderr.out], timeout=timeout)
            except TimeoutError:
                raise subprocess.TimeoutExpired(arguments, timeout or 0) from None
            status = int(connection.recv(64))
        return subprocess.CompletedProcess(arguments, status, *said)


class _Pipe:
    """Closed with the stack at the latest."""

    def __init__(self, stack: ExitStack) -> None:
        out, into = os.pipe()
        self.out = stack.enter_context(os.fdopen(out, "rb", buffering=0))
        self.into = stack.enter_context(os.fdopen(into, "wb", buffering=0))


def _read(files: Sequence[FileIO], *, timeout: float | None) -> list[str]:
    """All that comes from each of them, until all of them end.

    :raises TimeoutError: that takes longer
    """
    deadline = time.monotonic() + timeout if timeout is not None else None
    said = dict.fromkeys(files, b"")
    going = list(files)
    while going:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = select.select(going, [], [], left)[0]
        if not ready:
            raise TimeoutError
        for file in ready:
            said[file] += (more := file.read(65536))
            if not more:
                going.remove(file)
    return [text.decode() for text in said.values()]
