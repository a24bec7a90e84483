"""Keeping the spool within its limit: exports of tests that passed go first, others never do."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.conf import settings

from ..errors import StorageError, UsageError
from .job import Job

_SHARE = 2  # the spool may take that part of its file system


class SpoolFullError(StorageError):
    """There is no room for another export to wait."""


def limit_of(directory: Path) -> int:
    """Bytes that the spool may take: ``DEVOPS_SPOOL_LIMIT``, else half of its file system.

    :raises UsageError: see :func:`limit_given`
    """
    given = limit_given()
    if given is not None:
        return given
    status = os.statvfs(directory)
    return status.f_blocks * status.f_frsize // _SHARE


def limit_given() -> int | None:
    """What ``DEVOPS_SPOOL_LIMIT`` says.

    :raises UsageError: it is no number of bytes
    """
    given = settings.DEVOPS_SPOOL_LIMIT
    if not given:
        return None
    if not re.fullmatch(r"\s*\d{1,18}\s*", str(given), re.ASCII):
        raise UsageError(
            f"DEVOPS_SPOOL_LIMIT is {given!r}, which is no number of bytes",
            hint="100 GiB are 107374182400; without it, half of the file system is the limit",
        )
    return int(given)


def size_of(jobs: Sequence[Job]) -> int:
    """Bytes on disk that all of them take together."""
    seen: set[tuple[int, int]] = set()
    return sum(job.taken(seen) for job in jobs)


def to_be_dropped(jobs: Sequence[Job], *, limit: int) -> Iterator[Job]:
    """Yield the jobs that have to go, oldest first, as far as they may.

    :param jobs: oldest first
    """
    left = list(jobs)
    for job in jobs:
        if not job.is_dispensable:
            continue
        if size_of(left) <= limit:
            return
        left.remove(job)
        yield job
