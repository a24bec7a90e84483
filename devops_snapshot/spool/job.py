"""An export that waits to be sent, as it lies in the spool.

A directory named after the export's id, with ``job.json`` (this module), ``manifest.json`` (the
manifest, whose files have no layers yet), ``files/<n>`` for the n-th file of the manifest, and
``tries.json`` once it was tried in vain.
"""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ..errors import FormatError

VERSION = 1
_BLOCK = 512  # bytes; the unit of st_blocks on Linux
_FIRST_WAIT, _LONGEST_WAIT = 30.0, 15 * 60.0  # seconds


@dataclass(frozen=True)
class Job:
    """An export that waits.

    :param id: of the export, as it will be on the storage node
    :param directory: where it lies
    :param storage: URL of the storage node
    :param queued: when it left its environment
    :param keep_seconds: for how long it is to be kept; None: as the storage node does it
    :param outcome: of the test; only exports of tests that passed are ever dropped for want of room
    :param linked: which files have another name elsewhere, through which they could be written to
    :param uid: the user whose it is, who may drop it
    """

    id: str
    directory: Path
    environment: str
    storage: str
    queued: datetime
    snapshots: tuple[str, ...]
    size: int
    keep_seconds: float | None = None
    test: str = ""
    outcome: str = ""
    linked: tuple[int, ...] = ()
    uid: int = 0

    @property
    def keep(self) -> timedelta | None:
        return None if self.keep_seconds is None else timedelta(seconds=self.keep_seconds)

    @property
    def user(self) -> str:
        """Whose it is, by name, or by number where there is none."""
        return user_name(self.uid)

    @property
    def is_dispensable(self) -> bool:
        return self.outcome == "passed"

    @property
    def files(self) -> Path:
        return self.directory / "files"

    @property
    def manifest(self) -> bytes:
        return (self.directory / "manifest.json").read_bytes()

    def taken(self, seen: set[tuple[int, int]]) -> int:
        """Bytes on disk of its files, but for those that were seen before.

        :param seen: (device, inode); those of this job are added
        """
        size = 0
        with suppress(FileNotFoundError):  # sent meanwhile
            for entry in os.scandir(self.files):
                status = entry.stat(follow_symlinks=False)
                key = (status.st_dev, status.st_ino)
                if key not in seen:
                    seen.add(key)
                    size += status.st_blocks * _BLOCK
        return size

    def encode(self) -> bytes:
        fields = {**asdict(self), "queued": self.queued.isoformat(), "version": VERSION}
        del fields["directory"]
        return json.dumps(fields, indent=1).encode()

    @classmethod
    def read(cls, directory: Path) -> Job:
        """:raises FormatError: it is damaged, or of a release to come
        :raises FileNotFoundError: it is gone
        """
        return cls.decode((directory / "job.json").read_bytes(), directory)

    @classmethod
    def decode(cls, data: bytes, directory: Path) -> Job:
        """:raises FormatError: it is damaged, or of a release to come"""
        try:
            fields = dict(json.loads(data))
            if fields.pop("version") != VERSION:
                raise FormatError(
                    f"{directory} was written by a newer release", hint="Update this one"
                )
            fields["queued"] = datetime.fromisoformat(fields["queued"])
            for name in ("snapshots", "linked"):
                fields[name] = tuple(fields[name])
            return cls(directory=directory, **fields)
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(
                f"{directory}/job.json is damaged: {error!r}",
                hint="'dos.py export-status --drop' gives it up",
            ) from error


@dataclass(frozen=True)
class Tries:
    """What was tried in vain with a job.

    :param after: not to be tried before; seconds since 1970
    """

    number: int = 0
    error: str = ""
    after: float = 0.0

    @classmethod
    def of(cls, job: Job) -> Tries:
        try:
            return cls(**_mapping(_tries_of(job).read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return cls()

    def and_another(self, error: str, *, now: float) -> Tries:
        """After one more; each wait is twice as long as that before, up to a quarter of an hour."""
        wait = min(_FIRST_WAIT * 2**self.number, _LONGEST_WAIT)
        return replace(self, number=self.number + 1, error=error, after=now + wait)

    def write(self, job: Job) -> None:
        write_whole(_tries_of(job), json.dumps(asdict(self)).encode())

    @staticmethod
    def forget(job: Job) -> None:
        """Let it be as if none had been made."""
        _tries_of(job).unlink(missing_ok=True)

    def may_begin(self, now: float) -> bool:
        """Whether the next may; nobody ever waits longer, so a clock that went back waits not."""
        return not now < self.after <= now + _LONGEST_WAIT


def _tries_of(job: Job) -> Path:
    return job.directory / "tries.json"


def user_name(uid: int) -> str:
    """Of a user of this host."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file, durably, so that it is there as it was or as it will be."""
    temporary = path.with_name(f".{path.name}.unfinished")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def sync_directory(directory: Path) -> None:
    """Let the names in it be durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mapping(data: bytes) -> Mapping[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found
