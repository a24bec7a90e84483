"""Merging batches in tests, and being cut off while at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devops_snapshot.errors import StorageError
from devops_snapshot.remote import Remote
from devops_snapshot.store import Repository
from devops_snapshot.store.lease import Lease, hold_lease


@contextmanager
def merging(repository: Repository) -> Iterator[Lease]:
    with hold_lease(repository.remote, {"purpose": "collect"}) as lease:
        yield lease


def fail_after(
    calls: int, patch: pytest.MonkeyPatch, remote: Remote, operation: str, directory: str
) -> None:
    """Let an operation of a remote on objects in a directory fail, but for the first calls."""
    real, left = getattr(remote, operation), iter(range(calls))

    def failing(path: str, *args: object, **kwargs: object) -> object:
        if path.startswith(f"{directory}/") and next(left, None) is None:
            raise StorageError("cut off")
        return real(path, *args, **kwargs)

    patch.setattr(remote, operation, failing)
