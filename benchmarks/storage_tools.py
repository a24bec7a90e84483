"""The programs that ``benchmarks.storage`` compares, as commands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.remote.sshd import Sshd

MIB = 1 << 20
PROJECT = Path(__file__).resolve().parent.parent
Command = Sequence[str | Path]


@dataclass(frozen=True)
class Cost:
    """What a command took.

    :param seconds: until it ended
    :param on_disk: seconds until all that was written was on the disk, too
    :param peak: memory of its largest process, MiB
    """

    seconds: float
    on_disk: float
    peak: float


class Tool(Protocol):
    """A way to store files and get them back; ``place`` is a directory that it has for itself."""

    def __init__(self, place: Path) -> None: ...

    def prepare(self) -> None:
        """Make an empty repository; not measured."""

    def export(self, files: Sequence[Path]) -> Command: ...

    def restore(self, files: Sequence[Path]) -> Command:
        """Bring the files of the last export into the current directory."""

    @property
    def environment(self) -> Mapping[str, str]: ...

    @property
    def repository(self) -> Path: ...


class Ours:
    """This project, through the store's own interface."""

    def __init__(self, place: Path, url: str | None = None) -> None:
        self.repository = place / "repository"
        self.url = url or f"file://{self.repository}"
        self.environment = {"XDG_CACHE_HOME": str(place / "cache")}

    def prepare(self) -> None:
        """The first export makes the repository."""

    def export(self, files: Sequence[Path]) -> Command:
        return ours("export", self.url, *files)

    def restore(self, files: Sequence[Path]) -> Command:
        return ours("import", self.url, ".")


class Borg:
    """borg with the compression that it is quickest with."""

    def __init__(self, place: Path) -> None:
        self.repository = place / "repository"
        self.environment = {"BORG_BASE_DIR": str(place), "BORG_REPO": str(self.repository)}
        self._exports = 0

    def prepare(self) -> None:
        run(["borg", "init", "--encryption", "none"], self.environment)

    def export(self, files: Sequence[Path]) -> Command:
        self._exports += 1
        return ["borg", "create", "--compression", "zstd,1", f"::{self._exports}", *files]

    def restore(self, files: Sequence[Path]) -> Command:
        strip = len(files[0].parent.parts) - 1
        return [
            "borg",
            "extract",
            "--sparse",
            "--strip-components",
            str(strip),
            f"::{self._exports}",
        ]


class Restic:
    """restic as it is by default."""

    def __init__(self, place: Path) -> None:
        self.repository = place / "repository"
        self.environment = {
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_CACHE_DIR": str(place / "cache"),
            "RESTIC_PASSWORD": "measured",
        }

    def prepare(self) -> None:
        run(["restic", "init", "--quiet"], self.environment)

    def export(self, files: Sequence[Path]) -> Command:
        return ["restic", "backup", "--quiet", *files]

    def restore(self, files: Sequence[Path]) -> Command:
        return ["restic", "restore", "--quiet", "latest", "--target", "."]


TOOLS: Mapping[str, type[Tool]] = {"ours": Ours, "borg": Borg, "restic": Restic}


def ours(command: str, *arguments: str | Path) -> Command:
    """Run a function of ``storage_ours`` in a process of its own."""
    return [sys.executable, Path(__file__).with_name("storage_ours.py"), command, *arguments]


def scp(sshd: Sshd, source: Sequence[str | Path], target: str | Path) -> Command:
    """Copy files with scp; paths on the storage node begin with ``sshd:``."""
    options = f"IdentityFile={sshd.home}/.ssh/id_ed25519", f"UserKnownHostsFile={sshd.known_hosts}"
    settings = [part for option in options for part in ("-o", option)]
    names = [str(path).replace("sshd:", f"{sshd.user}@127.0.0.1:", 1) for path in (*source, target)]
    return ["scp", "-q", "-F", "none", "-P", str(sshd.port), *settings, *names]


def run(command: Command, environment: Mapping[str, str], directory: Path | None = None) -> Cost:
    """Run a command to its end, on a disk that has nothing left to write."""
    os.sync()
    began = time.monotonic()
    everything = {**os.environ, "PYTHONPATH": str(PROJECT), **environment}
    process = subprocess.Popen(command, env=everything, cwd=directory)
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        process.wait()
        raise
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    os.sync()
    return Cost(seconds, time.monotonic() - began, usage.ru_maxrss / 1024)
