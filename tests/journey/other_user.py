"""A host's user who is not root: libvirt lets him in, the files of its storage pools do not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bed import Host
from tests.bed.host import CHECKOUT
from tests.bed.user import GAMES, User

_COMMAND = """
import os, runpy, sys
os.setgroups([]), os.setgid({user.gid}), os.setuid({user.uid})
os.environ.update(HOME={home!r}, USER={user.name!r}, LOGNAME={user.name!r})
os.chdir({home!r})
{before}
sys.argv = ["dos.py", *{arguments!r}]
runpy.run_module("devops_snapshot", run_name="__main__", alter_sys=True)
"""


class UsersHost:
    """A host as :class:`~tests.bed.Host` is, whose commands that user runs; see :func:`user_of`.

    :param libvirts: the host whose libvirt he uses
    """

    def __init__(self, host: Host, *, libvirts: Host | None = None, user: User = GAMES) -> None:
        self._host = host
        self._libvirts = libvirts or host
        self.user = user
        self.home = host.directory / user.name
        self.home.mkdir(exist_ok=True)
        user.owns(self.home)

    def __getattr__(self, name: str) -> Any:
        of_libvirt = name in ("connection", "guest", "pool_dir")
        return getattr(self._libvirts if of_libvirt else self._host, name)

    def dos(
        self,
        *arguments: str,
        before: str = "",
        env: Mapping[str, str] | None = None,
        **others: Any,
    ) -> subprocess.CompletedProcess[str]:
        """:param before: Python code that comes first"""
        home = str(self.home)
        code = _COMMAND.format(user=self.user, home=home, arguments=arguments, before=before)
        return self._host.python("-c", code, env=env, **others)


@contextmanager
def user_of(host: Host, *, user: User = GAMES) -> Iterator[UsersHost]:
    """A user of libvirt's group, who can see Python and the checkout wherever they are."""
    host.run(["chgrp", str(user.gid), str(host.socket)])
    host.run(["chmod", "0770", str(host.socket)])
    closed = {_closed(path): path for path in _needed() if _closed(path)}
    for directory, path in closed.items():
        host.run(["sh", "-ec", _SHOW, "sh", str(directory), str(path), str(host.directory / "up")])
    try:
        yield UsersHost(host, user=user)
    finally:
        for directory in closed:
            host.run(["umount", "--recursive", "--lazy", str(directory)])


_SHOW = """\
mkdir "$3"
mount --bind "$2" "$3"
mount -t tmpfs -o mode=755 none "$1"
mkdir -p "$2"
mount --move "$3" "$2"
rmdir "$3"
"""
"""Of a directory that only root may enter, show others this one path."""


def _needed() -> list[Path]:
    """What of Python is no part of another; in one closed directory the outermost of it."""
    paths = {CHECKOUT, Path(sys.prefix), Path(sys.base_prefix)}
    return [path for path in paths if not paths & set(path.parents)]


def _closed(path: Path) -> Path | None:
    """The first directory on the way there that others may not enter."""
    way = [*reversed(path.parents), path]
    return next((step for step in way if not step.stat().st_mode & 0o001), None)
