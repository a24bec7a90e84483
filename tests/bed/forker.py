"""Runs as a process of its own on a host: a Python that has the libraries loaded, and forks.

``forker.py SOCKET`` listens there. A connection carries one JSON request, ``{"arguments": [...],
"env": {...}, "cwd": path}`` with the arguments of a Python interpreter (``-m MODULE ...`` or ``-c
CODE ...``), and three file descriptors: its standard input, output and error. The answer is the
exit status as :mod:`subprocess` gives it. Whoever closes the connection before has it killed.

Only libraries are loaded ahead. What is under test is imported by every process anew.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARIES = (
    "asyncio",
    "blake3",
    "concurrent.futures.thread",
    "ctypes",
    "django.core.management.commands.migrate",
    "django.core.management.sql",
    "django.db.backends.sqlite3.base",
    "django.db.models.sql.compiler",
    "django.template.defaulttags",
    "django.template.loader_tags",
    "django.templatetags.i18n",
    "django.urls",
    "django.utils.log",
    "django.utils.translation.reloader",
    "django.views.debug",
    "libvirt",
    "libvirt_qemu",
    "lxml.builder",
    "lxml.etree",
    "netaddr",
    "paramiko",
    "psycopg2",
    "pydantic.json_schema",
    "pydantic.main",
    "pydantic.types",
    "rich.console",
    "rich.live",
    "rich.progress",
    "rich.table",
    "rich.tree",
    "sqlite3",
    "tabulate",
    "yaml",
    "zstandard",
)
LONGEST_REQUEST = 1 << 17  # bytes


def serve(path: str) -> list[str]:
    """Answer requests until killed; returns only in a forked process, with its arguments."""
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
        selectors.DefaultSelector() as selector,
    ):
        listener.bind(f"{path}.new")
        listener.listen()
        Path(f"{path}.new").rename(path)  # whoever sees it can connect
        selector.register(listener, selectors.EVENT_READ)
        while True:
            (key, _), *_ = selector.select()
            if key.fileobj is not listener:
                _finish(key.data, selector)
                continue
            connection, _ = listener.accept()
            request, files = _received(connection)
            pid = os.fork()
            if not pid:
                for other in {key.data for key in selector.get_map().values()} - {None}:
                    other.close()
                connection.close()
                return _become(request, files)
            for file in files:
                os.close(file)
            running = Running(pid, os.pidfd_open(pid), connection)
            for event in (running.ends, connection):
                selector.register(event, selectors.EVENT_READ, running)


@dataclass(frozen=True)
class Running:
    """A process that was forked.

    :param ends: file descriptor that can be read when it has ended
    """

    pid: int
    ends: int
    connection: socket.socket

    def close(self) -> None:
        os.close(self.ends)
        self.connection.close()


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    message, files, _, _ = socket.recv_fds(connection, LONGEST_REQUEST, 3)
    return json.loads(message), files


def _finish(running: Running, selector: selectors.BaseSelector) -> None:
    """It has ended, or its connection has: then it is killed. Tell how it ended."""
    selector.unregister(running.ends)
    selector.unregister(running.connection)
    os.kill(running.pid, signal.SIGKILL)  # does nothing to one that has ended
    status = os.waitstatus_to_exitcode(os.waitpid(running.pid, 0)[1])
    with suppress(BrokenPipeError):
        running.connection.send(str(status).encode())
    running.close()


def _become(request: dict[str, Any], files: list[int]) -> list[str]:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    time.tzset()
    return list(request["arguments"])


def run(how: str, what: str, *arguments: str) -> None:
    """Go on as ``python HOW WHAT ARGUMENTS`` does."""
    sys.path[0] = str(Path.cwd()) if how == "-m" else ""
    sys.argv = [how, *arguments]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    run(*serve(sys.argv[1]))
