"""Another user, whom root lends processes and files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class User:
    """A user of the machine, by name and number, and its group's number."""

    name: str
    uid: int
    gid: int

    def runs(self, *, any_file: bool = False) -> list[str]:
        """What to put before a command; with ``any_file`` it can read and write every file."""
        capability = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return [
            "setpriv",
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            "--clear-groups",
            *(capability if any_file else ()),
        ]

    def owns(self, directory: Path) -> None:
        """Give it a directory and all that is in there."""
        for path in (directory, *directory.rglob("*")):
            os.chown(path, self.uid, self.gid)


#: Of every Debian, with no processes and no files. ("nobody" cannot log in: nss-systemd locks it.)
GAMES = User("games", uid=5, gid=60)
