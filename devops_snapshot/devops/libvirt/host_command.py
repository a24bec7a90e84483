"""Running a command on the host where libvirt is."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from urllib.parse import SplitResult, parse_qs, urlsplit

from devops_snapshot.connection import LOCAL_HOSTS
from devops_snapshot.errors import HypervisorError

TIMEOUT = 30  # seconds
SSH_TRANSPORTS = ("ssh", "libssh", "libssh2")


def run_on_host(uri: str, command: Sequence[str], *, as_root: bool) -> str:
    """What the command prints.

    :param uri: of libvirt: the command runs where that is, through ``ssh`` if it is reached so
    :param as_root: with ``sudo`` where we are not root
    :raises HypervisorError: it failed, or there is no way to be root there
    """
    try:
        done = subprocess.run(
            _whole_command(urlsplit(uri), command, as_root=as_root),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HypervisorError(f"cannot run '{shlex.join(command)}': {error}") from error
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise HypervisorError(f"'{shlex.join(command)}' failed: {reason}")
    return done.stdout


def _whole_command(uri: SplitResult, command: Sequence[str], *, as_root: bool) -> list[str]:
    if _is_ssh(uri):
        become_root = 'sudo=; [ "$(id -u)" = 0 ] || sudo="sudo -n"; $sudo ' if as_root else ""
        return [*_ssh(uri), become_root + shlex.join(command)]
    if uri.hostname not in LOCAL_HOSTS:
        raise HypervisorError(f"there is no way to run commands on {uri.hostname}")
    sudo = ["sudo", "-n"] if as_root and os.geteuid() != 0 else []
    return [*sudo, *command]


def _is_ssh(uri: SplitResult) -> bool:
    """``qemu+ssh://HOST/system``; without a host it is this one, which nobody reaches by SSH."""
    return uri.scheme.partition("+")[2] in SSH_TRANSPORTS and bool(uri.hostname)


def _ssh(uri: SplitResult) -> list[str]:
    command = ["ssh", "-o", "BatchMode=yes"]
    if uri.port:
        command += ["-p", str(uri.port)]
    if uri.username:
        command += ["-l", uri.username]
    for key in parse_qs(uri.query).get("keyfile", []):
        command += ["-i", key]
    return [*command, "--", str(uri.hostname)]
