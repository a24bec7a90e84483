"""A host's user who is not root: libvirt lets him in, the files of its storage pools do not."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Any

from tests.bed import Host
from tests.bed.user import GAMES, User

_BECOME = """
import os, runpy, sys
os.setgroups([]), os.setgid({user.gid}), os.setuid({user.uid})
os.environ.update(HOME={home!r}, USER={user.name!r}, LOGNAME={user.name!r})
os.chdir({home!r})
{before}
sys.argv = ["dos.py", *{arguments!r}]
runpy.run_module("devops_snapshot", run_name="__main__", alter_sys=True)
"""


class UsersHost:
    """A host as :class:`~tests.bed.Host` is, whose commands that user runs.

    :param before: Python code that each command begins with
    """

    def __init__(self, host: Host, user: User = GAMES) -> None:
        self._host = host
        self.user = user
        self.home = host.directory / user.name
        self.before = ""
        self.home.mkdir(exist_ok=True)
        user.owns(self.home)
        host.run(["chgrp", str(user.gid), str(host.socket)])
        host.run(["chmod", "0770", str(host.socket)])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def dos(
        self, *arguments: str, env: Mapping[str, str] | None = None, **others: Any
    ) -> subprocess.CompletedProcess[str]:
        code = _BECOME.format(
            user=self.user, home=str(self.home), arguments=arguments, before=self.before
        )
        return self._host.python("-c", code, env=env, **others)
