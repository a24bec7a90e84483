"""Running a command, or the user's shell, in an environment's namespace."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from .shelter import VARIABLE, Inside

_TO_ENTER = """\
mount -t sysfs sysfs /sys || :
while [ "$1" != -- ]; do
    mount --bind "$1" "$2"
    shift 2
done
shift
exec "$@"
"""
"""As ``ip netns exec`` does it, but with files of our own choice."""

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_inside(inside: Inside, environment: str, command: Sequence[str]) -> int:
    """Run it in this terminal until it ends; returns its exit code as a shell tells it.

    Whoever came by ``sudo`` is himself inside: his keys, his files. He may use ``sudo`` there.

    :param environment: its name, for the prompt
    :param command: empty: the user's shell
    """
    user = _user()
    variables = {
        **os.environ,
        **_variables_of(user),
        VARIABLE: environment,
        "debian_chroot": environment,  # what prompts on Debian and Ubuntu begin with
    }
    argv = list(command) or [variables.get("SHELL") or "/bin/sh"]
    with _Relay(interactive=not command) as relay:
        process = subprocess.Popen([*_entering(inside, user), *argv], env=variables)
        relay.passes_on_to(process)
        code = process.wait()
    return code if code >= 0 else 128 - code


def _entering(inside: Inside, user: pwd.struct_passwd | None) -> list[str]:
    """Each of these becomes the next, so that the process is the command's own in the end."""
    mounts = [str(path) for target, source in inside.files.items() for path in (source, target)]
    to_be_user = (
        []
        if user is None
        else ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups", "--"]
    )
    return [
        *("nsenter", f"--net={inside.namespace.path}", "--"),
        *("unshare", "--mount", "--propagation", "slave", "--"),
        *("sh", "-ec", _TO_ENTER, "sh", *mounts, "--"),
        *to_be_user,  # which forgets what the next one asks for
        *("setpriv", "--pdeathsig", "HUP", "--"),
    ]


def _user() -> pwd.struct_passwd | None:
    """Who called ``sudo``; None: nobody did."""
    number = os.environ.get("SUDO_UID", "")
    if os.geteuid() != 0 or not number.isdecimal() or number == "0":
        return None
    try:
        return pwd.getpwuid(int(number))
    except KeyError:
        return None


def _variables_of(user: pwd.struct_passwd | None) -> Mapping[str, str]:
    if user is None:
        return {}
    return {
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": user.pw_shell or "/bin/sh",
    }


class _Relay:
    """Lets what is sent to this process reach the command, unless that has got it already.

    :param interactive: a shell that talks to somebody: it ends for nothing but SIGHUP
    """

    def __init__(self, *, interactive: bool) -> None:
        self._interactive = interactive
        self._process: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Relay:
        for number in _PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def passes_on_to(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        for number in self._early:
            self._take(number, None)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._process is None:
            self._early.append(number)
        elif number != signal.SIGINT or not _came_from_terminal():
            self._process.send_signal(signal.SIGHUP if self._interactive else number)


def _came_from_terminal() -> bool:
    """Whether Ctrl-C is told to this process and to the command alike."""
    for descriptor in range(3):
        try:
            return os.tcgetpgrp(descriptor) == os.getpgrp()
        except OSError:
            continue
    return False
