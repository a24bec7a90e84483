"""Work in a process of its own that may take only so much memory and time."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from devops_snapshot.errors import DevopsError

MIB = 1 << 20


def outcome(work: Callable[[], object], *, memory: int, seconds: int = 60) -> str:
    """Return the message of the :class:`DevopsError` that the work raises, or nothing.

    :param memory: bytes that it may take beyond what this process has
    :raises AssertionError: it raised something else, took more, or did not end in time
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _be_child(work, writing, memory, seconds)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"it was killed: {signal.strsignal(os.WTERMSIG(status))}"
    fault, message = pickle.loads(told)
    assert not fault, fault
    return str(message)


def _be_child(work: Callable[[], object], pipe: int, memory: int, seconds: int) -> NoReturn:
    fault, message = "", ""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (_size() + memory,) * 2)
    try:
        work()
    except DevopsError as error:
        message = str(error)
    except BaseException:
        fault = traceback.format_exc()
    sys.stdout.flush()
    os.write(pipe, pickle.dumps((fault[-30_000:], message[:30_000])))
    os._exit(0)


def _size() -> int:
    """Bytes of address space that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
