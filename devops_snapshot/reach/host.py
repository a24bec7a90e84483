"""Commands of the host: ``ip``, ``nft`` and their like, and the rights that they need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ..errors import DevopsError

TIMEOUT = 30  # seconds
_NET_ADMIN, _SYS_ADMIN = 12, 21  # linux/capability.h


def run(*command: str, given: str = "") -> str:
    """What a command prints.

    :param given: its standard input
    :raises DevopsError: it fails, or is not there
    """
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env={**os.environ, "PATH": _path()},
            start_new_session=True,  # Ctrl-C is for us
        )
    except FileNotFoundError as error:
        hint = "It is in the packages iproute2 or util-linux"
        raise DevopsError(f"{command[0]} is not there on this host", hint=hint) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DevopsError(f"cannot run {' '.join(command)!r}: {error}") from error
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise DevopsError(f"{' '.join(command)!r} failed: {reason}")
    return done.stdout


def ip(*arguments: str) -> list[dict[str, Any]]:
    """What ``ip -json`` tells; of commands that only change something, nothing.

    :raises DevopsError: as :func:`run`
    """
    told: list[dict[str, Any]] = json.loads(run("ip", "-json", *arguments) or "[]")
    return told


def may_make_namespaces() -> bool:
    """Whether this process may make network namespaces and devices, and mount into them."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("CapEff:")]
    capabilities = int(line.split()[1], 16)
    return all(capabilities >> number & 1 for number in (_NET_ADMIN, _SYS_ADMIN))


def is_there(tool: str) -> bool:
    """Whether :func:`run` would find it."""
    return shutil.which(tool, path=_path()) is not None


def _path() -> str:
    """Users' own often has no directories of the administrator's tools, also under ``sudo -E``."""
    return f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
